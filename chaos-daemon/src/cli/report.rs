//! The result of an experiment as a table for people: what was asked, what was done, and how sure that is.

use std::fmt::Write;

use comfy_table::Table;

use super::output;
use crate::{
    engine::{FaultOutcome, Outcome},
    printable::printable,
    record::{Finding, Probe},
    steady::Done,
};

/// The whole result, with the verdict at its end.
pub fn all(done: &Done) -> String {
    let seen = &done.seen;
    let mut text = outcome(&done.outcome);
    if !seen.probes.is_empty() {
        let _infallible = writeln!(text, "{}", probes(&seen.probes));
    }
    let word = match seen.verdict.verdict {
        Finding::NotAsked => return text,
        Finding::Held => "HELD",
        Finding::Falsified => "FALSIFIED",
        Finding::Stopped => "STOPPED",
        Finding::Inconclusive => "INCONCLUSIVE",
    };
    if let Some(seconds) = seen.recovery_seconds {
        let _infallible = writeln!(text, "steady state was back after {seconds:.1} s");
    }
    let _infallible = writeln!(text, "verdict: {word}: {}", printable(&seen.verdict.reason));
    text
}

fn probes(probes: &[Probe]) -> Table {
    let header = ["probe", "expected", "before", "worst", "broke at", "longest", "back at", "held"];
    let seconds = |at: Option<f64>| at.map_or_else(|| "-".to_owned(), |at| format!("{at:.1} s"));
    let row = |probe: &Probe| {
        let number =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| in_unit(value, &probe.unit));
        vec![
            printable(&probe.name),
            probe
                .during
                .clone()
                .map_or_else(|| probe.expect.clone(), |during| format!("{}; {during}", probe.expect)),
            number(probe.baseline),
            number(probe.worst),
            seconds(probe.broke_at),
            seconds((probe.broken_seconds > 0.0).then_some(probe.broken_seconds)),
            seconds(probe.recovered_at),
            probe.held.map_or("nobody knows", |held| if held { "yes" } else { "no" }).to_owned(),
        ]
    };
    output::table(&header, probes.iter().map(row), &[2, 3, 4, 5, 6])
}

fn in_unit(value: f64, unit: &str) -> String {
    match unit {
        "%" => percent(value),
        "s" if value < 1.0 => format!("{:.1} ms", value * 1e3),
        "s" => format!("{value:.2} s"),
        _ => format!("{}", (value * 1e3).round() / 1e3),
    }
}

/// What was done.
pub fn outcome(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write!(
        text,
        "\n{} on {}: {} after {:.1} s of {:.1} s (seed {})\n",
        outcome.experiment,
        printable(&outcome.target),
        outcome.ended,
        outcome.ran_seconds,
        outcome.duration_seconds,
        outcome.seed
    );
    if let Some(hypothesis) = &outcome.hypothesis {
        let _infallible = writeln!(text, "hypothesis: {}", printable(hypothesis));
    }
    let _infallible = writeln!(text, "{}", table(outcome));
    for fault in &outcome.faults {
        for line in remarks(fault) {
            let _infallible = writeln!(text, "{}: {line}", fault.fault);
        }
    }
    if outcome.members.len() > 1 {
        for member in &outcome.members {
            let _infallible = writeln!(text, "in the target: {}", printable(member));
        }
    }
    for change in &outcome.changes {
        let _infallible =
            writeln!(text, "after {:.1} s: {}", change.after_seconds, printable(&change.what.to_string()));
    }
    if outcome.more_changes > 0 {
        let _infallible = writeln!(text, "and {} more changes", outcome.more_changes);
    }
    for note in &outcome.notes {
        let _infallible = writeln!(text, "note: {}", printable(note));
    }
    if outcome.undelivered > 0 {
        let _infallible = writeln!(
            text,
            "note: {} {} waiting in the delay line at the end, or lost there, and never came out",
            outcome.undelivered,
            if outcome.undelivered == 1 { "packet was" } else { "packets were" }
        );
    }
    if outcome.matched_nothing() {
        text.push_str(
            "Nothing matched, so nothing was tested. Does the target send or call at all, to the peers and ports named?\n",
        );
    }
    text
}

fn table(outcome: &Outcome) -> Table {
    let hit = if outcome.mode == "shadow" { "would hit" } else { "injected" };
    let header = ["fault", "effect", "matched", hit, "asked", "drawn", "99.9 % interval"];
    let row = |fault: &FaultOutcome| {
        vec![
            fault.fault.clone(),
            fault.effect.clone(),
            fault.matched.to_string(),
            fault.hit().to_string(),
            fault.asked.map_or_else(|| "-".to_owned(), percent),
            fault.share.map_or_else(|| "-".to_owned(), percent),
            match fault.interval {
                Some((low, high)) => format!("{} to {}", percent(low), percent(high)),
                None if fault.as_asked.is_some() => "exact".to_owned(),
                None => "-".to_owned(),
            },
        ]
    };
    output::table(&header, outcome.faults.iter().map(row), &[2, 3, 4, 5, 6])
}

/// What the table does not say.
fn remarks(fault: &FaultOutcome) -> Vec<String> {
    let mut lines: Vec<String> = fault
        .skipped
        .iter()
        .filter(|(reason, n)| **n > 0 && !matches!(**reason, "probability" | "shadow"))
        .map(|(reason, n)| match why(reason) {
            Why::LeftAlone(why) => format!("{n} matched and left alone: {why}"),
            Why::Lost(why) => format!("{n} matched and were lost instead: {why}"),
        })
        .collect();
    if fault.injected == 0 && fault.hits > 0 && fault.skipped.get("shadow").is_none_or(|n| *n == 0) {
        lines.push(format!("drawn {} times and never injected, so nothing was tested", fault.hits));
    }
    if fault.unattributed > 0 {
        lines.push(format!(
            "{} more packets fitted, and nobody can say whose they are (what the kernel sends by itself, pieces \
             of datagrams on their way in): left alone",
            fault.unattributed
        ));
    }
    if let (Some(false), Some(asked)) = (fault.as_asked, fault.asked) {
        let asked = percent(asked);
        lines.push(match fault.interval {
            Some(_) => {
                format!(
                    "{asked} was asked and lies outside the interval: in a thousand runs this happens once"
                )
            }
            None => format!("{asked} was asked, and {} of {} are not that", fault.hits, fault.draws),
        });
    }
    lines
}

/// What became of those that were not hit.
enum Why<'a> {
    LeftAlone(&'a str),
    /// The fault did not hit them, and they did not get through either.
    Lost(&'a str),
}

fn why(reason: &str) -> Why<'_> {
    Why::LeftAlone(match reason {
        "lease" => "already switched off (halted or stopped), or the lease had run out (kchaos was starved)",
        "deadline" => "the time box was over",
        "window" => "outside start_after and pulse",
        "protected" => "protected",
        "denied" => "the call had already been refused by another program",
        "failed" => "the kernel refused the effect, or there was nothing to do it to",
        "flow" => "of connections that `flows`, or a reset's `probability`, has not chosen",
        "old_flow" => "of connections that were there before",
        "limit" => "after as many as `limit` allows",
        "early" => "of connections that had not come to `after` yet",
        "overflow" => return Why::Lost("the delay line was full ([delay_line] makes it larger)"),
        "lost" => return Why::Lost("another fault lost them before this one took effect"),
        other => other,
    })
}

/// Three significant digits are what a count can carry.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = match percent {
        p if p >= 10.0 || p == 0.0 => 1,
        p if p >= 1.0 => 2,
        p if p >= 0.1 => 3,
        _ => 4,
    };
    format!("{percent:.decimals$} %")
}
