//! The table of a run, on the terminal and as a document with what is to be known of the machine.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use super::rows::Row;

/// The kernel that this runs on, and on what that runs.
pub fn place(guest: bool) -> String {
    let release = nix::sys::utsname::uname().unwrap();
    let release = release.release().to_string_lossy();
    let line: Vec<&str> = release.split(['.', '-']).take(2).collect();
    format!("{} with Linux {}", if guest { "guest" } else { "host" }, line.join("."))
}

/// The rows that a run elsewhere has written. What its machine's end cut off is left out, and of what was measured twice
/// the first.
pub fn read(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    last_of_each(text.lines().filter_map(|line| serde_json::from_str(line).ok()))
}

fn last_of_each(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut list: Vec<Row> = rows.collect();
    let latest: BTreeMap<String, u32> = list.iter().map(|row| (row.section.clone(), row.attempt)).collect();
    list.retain(|row| latest.get(&row.section) == Some(&row.attempt));
    list
}

/// Rows under the headings of their sections.
fn sections(rows: &[Row]) -> Vec<(String, Vec<&Row>)> {
    let mut sections: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let title = format!("{}: {}", row.place, row.section);
        match sections.last_mut() {
            Some((before, list)) if *before == title => list.push(row),
            _ => sections.push((title, vec![row])),
        }
    }
    sections
}

/// For the terminal.
pub fn plain(rows: &[Row], quick: bool) -> String {
    let mut text = String::new();
    for (title, rows) in sections(rows) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "\n{title}");
        for row in rows {
            let line = format!("  {:<62} {:>16}  {}", row.what, row.value(), row.verdict(quick));
            let _infallible = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// A row by itself.
pub fn line(row: &Row, quick: bool) -> String {
    format!("{}: {}: {} {}", row.place, row.what, row.value(), row.verdict(quick))
}

/// For `docs/benchmarks`.
pub fn markdown(rows: &[Row], quick: bool) -> String {
    let mut text = "# Delays\n\nWritten by `cargo xtask bench delay".to_owned();
    text += if quick { " --quick`: too short to compare by.\n" } else { "`.\n" };
    text += "\nErrors are how far one packet's time from sender to receiver is from what was asked for, the median time\n\
             without a delay taken off, in either direction. What has a bar was asked for in advance; p is the\n\
             probability that something as far off comes out by chance, and must not be below 0.001.\n";
    text += &machine();
    for (title, rows) in sections(rows) {
        text += &format!("\n## {title}\n\n| | measured | bar |\n|---|---:|---|\n");
        for row in rows {
            text += &format!("| {} | {} | {} |\n", row.what, row.value().trim(), row.verdict(quick));
        }
    }
    text
}

/// This machine, in a list.
fn machine() -> String {
    let first = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let value = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split(':').nth(1));
        value.unwrap_or("unknown").trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = first("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse::<u64>().unwrap_or(0) >> 20;
    let uname = nix::sys::utsname::uname().unwrap();
    let guest = std::env::var("KCHAOS_GUEST_MACHINE").unwrap_or("none".into());
    let stolen = stolen().map_or("unknown".into(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "\n- processor: {}, {cores} cores\n- memory: {memory} GiB\n- kernel of the host: Linux {}\n- guest: {guest}\n\
         - processor time that others took from this machine meanwhile (steal): {stolen}\n",
        first("/proc/cpuinfo", "model name"),
        uname.release().to_string_lossy(),
    )
}

/// The share of this machine's busy time that its hypervisor gave to others, since `KCHAOS_STAT`, which is the first line
/// of `/proc/stat` at the beginning (`proc_stat(5)`). What is measured while much is taken says little.
pub fn stolen() -> Option<f64> {
    let now = fs::read_to_string("/proc/stat").ok()?;
    busy_and_stolen(&std::env::var("KCHAOS_STAT").ok()?, now.lines().next()?)
}

fn busy_and_stolen(before: &str, now: &str) -> Option<f64> {
    let numbers = |line: &str| -> Vec<f64> { line.split_whitespace().skip(1).flat_map(str::parse).collect() };
    let (before, now) = (numbers(before), numbers(now));
    let since: Vec<f64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
    let [user, nice, system, _idle, _wait, irq, softirq, steal, ..] = since[..] else { return None };
    let all = user + nice + system + irq + softirq + steal;
    (all > 0.0).then(|| steal / all)
}

#[cfg(test)]
mod tests {
    use super::{Row, busy_and_stolen, last_of_each};
    use crate::delay::rows::Bar;

    #[test]
    fn what_was_measured_again_replaces_all_of_it() {
        let row = |section: &str, what: &str, attempt| Row {
            place: String::new(),
            section: section.into(),
            what: what.into(),
            value: None,
            unit: String::new(),
            bar: Bar::None,
            attempt,
        };
        let rows =
            [row("a", "lost of 9", 0), row("b", "x", 0), row("b", "lost of 9", 0), row("b", "lost of 8", 1)];
        let left: Vec<String> = last_of_each(rows.into_iter()).into_iter().map(|row| row.what).collect();
        assert_eq!(["lost of 9", "lost of 8"], left[..]);
    }

    #[test]
    fn what_was_stolen_is_a_share_of_what_was_asked_for() {
        let share = busy_and_stolen("cpu 10 0 10 500 0 0 0 5 0 0", "cpu 40 0 20 900 0 0 10 55 0 0");
        assert_eq!(Some(0.5), share);
        assert_eq!(None, busy_and_stolen("cpu 1 2", "cpu 3 4"));
    }
}
