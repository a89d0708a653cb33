//! What is told, of a beginning and of an end.

use std::time::SystemTime;

use crate::{
    config::{Experiment, value::Span},
    engine::Session,
    record::{Finding, origin},
    steady::Done,
};

/// A moment in the life of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// When it was.
    pub at: SystemTime,
    /// The experiment's name.
    pub experiment: String,
    /// What its author expects.
    pub hypothesis: Option<String>,
    /// Whom it hits, as people say it.
    pub target: String,
    /// The kinds of its faults, each once, in file order.
    pub faults: Vec<String>,
    /// The words that its records are found by.
    pub tags: Vec<String>,
    /// The host it runs on.
    pub host: String,
    /// What happened, in one line.
    pub text: String,
    /// Set at the end.
    pub end: Option<End>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The verdict in one word, if there was something to find out.
    pub verdict: Option<&'static str>,
    /// Why.
    pub reason: String,
    /// How long the faults were on.
    pub ran_seconds: f64,
    /// How much was hit, all faults together.
    pub injected: u64,
}

impl Mark {
    /// The faults have gone on.
    pub fn began(session: &Session) -> Self {
        let experiment = &session.experiment;
        let faults = kinds(experiment);
        let at = SystemTime::now();
        Self {
            at: at.checked_sub(session.elapsed()).unwrap_or(at),
            experiment: experiment.name.clone(),
            hypothesis: experiment.hypothesis.clone(),
            target: session.target().to_owned(),
            text: format!(
                "{}: {} on {} for at most {}",
                experiment.name,
                faults.join(", "),
                session.target(),
                Span(experiment.duration)
            ),
            faults,
            tags: experiment.tags.clone(),
            host: origin::host(),
            end: None,
        }
    }

    /// It is over.
    pub fn ended(session: &Session, done: &Done) -> Self {
        let began = Self::began(session);
        let verdict = match done.seen.verdict.verdict {
            Finding::Held => Some("held"),
            Finding::Falsified => Some("falsified"),
            Finding::Stopped => Some("stopped"),
            Finding::Inconclusive => Some("inconclusive"),
            Finding::NotAsked => None,
        };
        let end = End {
            verdict,
            reason: done.seen.verdict.reason.clone(),
            ran_seconds: done.outcome.ran_seconds,
            injected: done.outcome.faults.iter().map(|fault| fault.injected).sum(),
        };
        Self {
            at: done.seen.ended.unwrap_or_else(SystemTime::now),
            text: format!("{}: {}", began.experiment, done.in_words()),
            end: Some(end),
            ..began
        }
    }

    /// Milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        let since = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Nanoseconds since 1970.
    pub fn nanos(&self) -> u64 {
        let since = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

fn kinds(experiment: &Experiment) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for fault in &experiment.faults {
        let kind = fault.fault.kind();
        if !kinds.iter().any(|known| known == kind) {
            kinds.push(kind.to_owned());
        }
    }
    kinds
}
