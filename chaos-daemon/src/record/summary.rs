//! A short summary in Markdown, for the page on which a CI system shows a job (`$GITHUB_STEP_SUMMARY` and the like).

use std::path::Path;

use super::{
    Finding, Probe, Record,
    markdown::{code, text},
    plain::{seconds, shortened},
    words,
};

/// Pages of jobs take a megabyte in all; a reason that is longer than this is cut.
const MOST: usize = 2000;

/// The summary. `place` is where the record lies, or a link to it.
pub fn render(record: &Record, place: Option<&Path>) -> String {
    let mark = match record.verdict.verdict {
        Finding::Held => "✅",
        Finding::Falsified => "❌",
        Finding::Stopped | Finding::Inconclusive => "⚠️",
        Finding::NotAsked => "➖",
    };
    let mut out =
        format!("## {mark} {}: {}\n\n", text(&record.experiment), words::result(record.verdict.verdict));
    if let Some(hypothesis) = &record.hypothesis {
        out += &format!("> {}\n\n", text(&shortened(hypothesis, MOST)));
    }
    if !record.verdict.reason.is_empty() {
        out += &format!("{}\n\n", text(&shortened(&record.verdict.reason, MOST)));
    }
    if !record.probes.is_empty() {
        out += &table(&record.probes);
    }
    for fault in words::faults(record) {
        out += &format!("- {} ({}): {}\n", text(&fault.name), text(&fault.kind), fault.counts());
    }
    if record.times.started.is_some() {
        out += &format!("- faults were on for {}\n", seconds(record.times.on_seconds));
    }
    out += &words::recovery(record).map_or_else(String::new, |recovery| format!("- {recovery}\n"));
    let place = place.map_or_else(String::new, |place| format!(" in {}", code(&place.to_string_lossy())));
    out += &format!("- record {}{place}\n", code(&record.id));
    out
}

/// Cells: what is in them is text, so that no `|` in a name makes another one.
fn table(probes: &[Probe]) -> String {
    let header =
        "| probe | | expected | before | at worst | first broke | back |\n|---|---|---|--:|--:|--:|--:|\n";
    let row = |probe: &Probe| {
        let cells = [
            shortened(&probe.name, MOST),
            words::held(probe).to_owned(),
            words::expected(probe),
            words::before(probe),
            words::worst(probe),
            words::broke(probe),
            words::recovered(probe),
        ];
        format!("| {} |\n", cells.map(|cell| text(&cell)).join(" | "))
    };
    format!("{header}{}\n", probes.iter().map(row).collect::<String>())
}
