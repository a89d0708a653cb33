//! The table of a run, on the terminal and as a document with what is to be known of the machine.

use std::{fmt::Write as _, fs, path::Path};

use super::rows::Row;

/// The kernel that this runs on, and on what that runs.
pub fn place(guest: bool) -> String {
    let release = nix::sys::utsname::uname().unwrap();
    let release = release.release().to_string_lossy();
    let line: Vec<&str> = release.split(['.', '-']).take(2).collect();
    format!("{} with Linux {}", if guest { "guest" } else { "host" }, line.join("."))
}

/// The rows that a run elsewhere has written. What its machine's end cut off is left out.
pub fn read(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
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
    format!(
        "\n- processor: {}, {cores} cores\n- memory: {memory} GiB\n- kernel of the host: Linux {}\n- guest: {guest}\n",
        first("/proc/cpuinfo", "model name"),
        uname.release().to_string_lossy(),
    )
}
