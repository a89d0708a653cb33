//! record.md: the record as teams write it by hand, with what is known filled in and what people must add left empty.
//!
//! What must stay true: text of others stays text. It may come from an experiment file that was passed around, or from
//! a service under test, and what it says must not become markup, neither of Markdown nor of the HTML that most of
//! its readers let through.

use super::{
    Finding, Record,
    plain::{plain, plain_lines, time_of_day},
    words,
};

/// The record as Markdown.
pub fn render(record: &Record) -> String {
    let mut out = format!("# Chaos Experiment Record: {}\n\n", text(&record.experiment));
    field(&mut out, "Date", &text(&time_of_day(words::began(record))));
    field(&mut out, "Team", "");
    field(&mut out, "Participants", &participants(record));
    let hypothesis = record.hypothesis.as_deref().map(text);
    field(&mut out, "Hypothesis", &hypothesis.unwrap_or_else(|| "none was written down".to_owned()));
    list(&mut out, "Experiment", &text(&words::scope(record)), &faults(record));
    let steady: Vec<String> = record.probes.iter().map(steady).collect();
    list(&mut out, "Steady-state metrics", if steady.is_empty() { "none" } else { "" }, &steady);
    let stops: Vec<String> = record.stops.iter().map(|stop| text(&words::stop(stop))).collect();
    list(&mut out, "Stop condition", if stops.is_empty() { "none" } else { "" }, &stops);
    list(&mut out, "Result", words::result(record.verdict.verdict), &results(record));
    list(&mut out, "Remediation", "", &remediation(record));
    let done = record.verdict.verdict == Finding::Held;
    field(&mut out, "Status", if done { "Done, nothing to remedy" } else { "Open" });
    field(&mut out, "Tags", &record.tags.iter().map(|tag| code(tag)).collect::<Vec<_>>().join(" "));
    out += &file(record);
    out
}

fn field(out: &mut String, name: &str, value: &str) {
    out.push_str(format!("**{name}:** {value}").trim_end());
    out.push_str("\n\n");
}

fn list(out: &mut String, name: &str, value: &str, items: &[String]) {
    field(out, name, value);
    for item in items {
        out.push_str(&format!("- {item}\n"));
    }
    if !items.is_empty() {
        out.push('\n');
    }
}

fn participants(record: &Record) -> String {
    let by = &record.by;
    format!("{} (ran it, on {} with Linux {})", text(&by.user), text(&by.host), text(&by.kernel))
}

fn faults(record: &Record) -> Vec<String> {
    let line = |fault: words::Fault| {
        let name = if fault.name == fault.kind {
            text(&fault.name)
        } else {
            format!("{} ({})", text(&fault.name), text(&fault.kind))
        };
        let effect =
            if fault.effect.is_empty() { String::new() } else { format!(" {};", text(&fault.effect)) };
        format!("{name}:{effect} {}", fault.counts())
    };
    words::faults(record).into_iter().map(line).collect()
}

fn steady(probe: &super::Probe) -> String {
    let what = if probe.what.is_empty() { String::new() } else { format!(", by {}", code(&probe.what)) };
    format!(
        "{}: {} (expected {}{what})",
        text(&probe.name),
        text(&words::before(probe)),
        code(&words::expected(probe))
    )
}

fn results(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    if !record.verdict.reason.is_empty() {
        lines.push(text(&record.verdict.reason));
    }
    lines.extend(words::order(record).map(|order| text(&order)));
    let probe = |probe: &super::Probe| {
        format!("{}, {}: {}", text(&probe.name), words::held(probe), text(&words::summary(probe)))
    };
    lines.extend(record.probes.iter().map(probe));
    lines.extend(words::recovery(record));
    lines
}

/// One line to be filled in, in which a team finds what the record cannot know.
fn remediation(record: &Record) -> Vec<String> {
    match record.verdict.verdict {
        Finding::Held => Vec::new(),
        Finding::Falsified => {
            vec!["Root cause:".to_owned(), "[ ] TICKET - what - owner, by when".to_owned()]
        }
        Finding::Stopped | Finding::Inconclusive | Finding::NotAsked => {
            vec!["[ ] TICKET - what - owner, by when".to_owned()]
        }
    }
}

/// What was run, and how to run it again.
fn file(record: &Record) -> String {
    let file = &record.file;
    let mut out = "## The experiment's file\n\n".to_owned();
    if let Some(path) = &file.path {
        out += &format!("- Path: {}\n", code(path));
    }
    out += &format!("- SHA-256: {}\n", code(&file.sha256));
    if let Some(git) = &file.git {
        let modified = if git.modified { ", modified since" } else { "" };
        out += &format!("- Commit: {}{modified}\n", code(&git.commit));
    }
    if let Some(seed) = words::seed(record) {
        out += &format!("- Seed of the draws: {}\n", code(&seed.to_string()));
    }
    out += &format!("- Record: {}, by kchaos {}\n\n", code(&record.id), text(&record.by.kchaos));
    out += &format!("To run it again with the same draws:\n\n{}\n", fenced("sh", &words::again(record)));
    if !file.text.is_empty() {
        out += &format!("As it was run:\n\n{}", fenced("toml", &file.text));
    }
    out
}

/// Text of others between our own words: nothing in it is markup, and it stays in its line.
///
/// HTML is made harmless by references, which every reader understands; the rest by backslashes.
pub fn text(others: &str) -> String {
    let others = plain(others.trim());
    let mut out = String::with_capacity(others.len());
    let mut rest = others.chars().peekable();
    while let Some(c) = rest.next() {
        let word_goes_on = rest.peek().is_some_and(|next| next.is_alphanumeric());
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => out.extend(['\\', c]),
            // At the beginning of an item these would make a list or a quotation of it.
            '>' if out.is_empty() => out.extend(['\\', c]),
            '-' | '+' | '=' if out.is_empty() && !word_goes_on => out.extend(['\\', c]),
            '.' | ')' if !word_goes_on && is_number(&out) => out.extend(['\\', c]),
            // An address is text and no link.
            ':' if ["http", "https", "ftp"].iter().any(|scheme| out.ends_with(scheme)) => {
                out.push_str("&#58;");
            }
            '.' if out.ends_with("www") => out.push_str("&#46;"),
            c => out.push(c),
        }
    }
    out
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Text of others as code: between more backticks than there are in it.
pub fn code(others: &str) -> String {
    let text = plain(others);
    if text.trim().is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(&text) + 1);
    // A space is taken away on both sides if it stands on both.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Several lines as code, between longer fences than any in it.
fn fenced(language: &str, lines: &str) -> String {
    let text = plain_lines(lines);
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
