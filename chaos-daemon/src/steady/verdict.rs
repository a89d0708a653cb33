//! One word and one sentence of everything that was seen.
//!
//! What must stay true: only a run whose faults hit something, that went to its end, and whose probes were all seen can
//! hold; and a hypothesis is falsified only by what was seen while something was hit, or after.

use super::NotSteady;
use crate::{
    config::{Experiment, value::Span},
    engine::{Ended, Outcome},
    record::{Finding, Probe, Sample, State, Verdict},
};

/// Whether steady state was back after the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// It was.
    Seen,
    /// Not as long as it may take.
    NotInTime,
    /// Somebody ended the wait for it.
    NotWaitedFor,
}

/// Of a run whose faults were on.
pub fn of(experiment: &Experiment, outcome: &Outcome, probes: &[Probe], back: Back) -> Verdict {
    let verdict = |verdict, reason: String| Verdict { verdict, reason };
    if probes.is_empty() {
        return verdict(Finding::NotAsked, "the file has no probes".to_owned());
    }
    if let Some(why) = stopped(&outcome.ended) {
        return verdict(Finding::Stopped, why);
    }
    if let Some(why) = nothing_was_hit(outcome) {
        return verdict(Finding::Inconclusive, why);
    }
    let mut broken: Vec<&Probe> = probes.iter().filter(|probe| probe.held == Some(false)).collect();
    broken.sort_by(|a, b| a.broke_at.unwrap_or(0.0).total_cmp(&b.broke_at.unwrap_or(0.0)));
    if let Some(first) = broken.first() {
        return verdict(Finding::Falsified, falsified(first, broken.len(), back));
    }
    if let Some(unseen) = probes.iter().find(|probe| probe.held.is_none()) {
        let why = unseen.samples.iter().rev().find_map(|sample| sample.note.clone());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let reason = format!("\"{}\" could not be measured while the faults were on{why}", unseen.name);
        return verdict(Finding::Inconclusive, reason);
    }
    if back == Back::NotWaitedFor {
        let reason = format!("the wait for steady state was ended before {} was back", not_back(probes));
        return verdict(Finding::Stopped, reason);
    }
    if back == Back::NotInTime {
        let reason = format!(
            "{} had not come back to steady state {} after the faults went off",
            not_back(probes),
            Span(experiment.steady.recovery)
        );
        return verdict(Finding::Falsified, reason);
    }
    let count = match probes.len() {
        1 => "the probe was".to_owned(),
        2 => "both probes were".to_owned(),
        more => format!("all {more} probes were"),
    };
    verdict(Finding::Held, format!("{count} as expected while the faults were on and after"))
}

/// Of one whose faults never went on.
pub fn not_begun(why: &NotSteady) -> Verdict {
    let reason = why.to_string();
    let first = reason.lines().next().unwrap_or_default();
    Verdict { verdict: Finding::Inconclusive, reason: first.to_owned() }
}

fn stopped(ended: &Ended) -> Option<String> {
    match ended {
        Ended::TimeBox | Ended::CommandEnded(_) => None,
        Ended::Interrupted(_) | Ended::Halted | Ended::StopCondition { .. } | Ended::TargetGone => {
            Some(ended.to_string())
        }
    }
}

fn nothing_was_hit(outcome: &Outcome) -> Option<String> {
    if outcome.mode == crate::config::Mode::Shadow.name() {
        return Some("in shadow mode nothing is hit".to_owned());
    }
    if outcome.faults.iter().any(|fault| fault.injected > 0) {
        return None;
    }
    Some(if outcome.matched_nothing() {
        "nothing matched, so nothing was tested".to_owned()
    } else {
        "nothing was hit, so nothing was tested".to_owned()
    })
}

fn falsified(first: &Probe, count: usize, back: Back) -> String {
    let at = first.broke_at.unwrap_or(0.0);
    let wrong = |sample: &&Sample| sample.at >= at && sample.state == State::Broken && sample.note.is_some();
    let note = first.samples.iter().find(wrong);
    let how = note.and_then(|sample| sample.note.clone()).unwrap_or_else(|| "was not as expected".to_owned());
    let others = match count {
        1 => String::new(),
        2 => ", the first of two that broke".to_owned(),
        more => format!(", the first of {more} that broke"),
    };
    let back = if back == Back::Seen { "" } else { "; steady state had not come back at the end" };
    format!("\"{}\"{others}, {at:.1} s after the faults went on: {how}{back}", first.name)
}

fn not_back(probes: &[Probe]) -> String {
    let bad =
        probes.iter().find(|probe| probe.samples.last().is_some_and(|sample| sample.state != State::Well));
    bad.map_or_else(|| "a probe".to_owned(), |probe| format!("\"{}\"", probe.name))
}

#[cfg(test)]
mod tests;
