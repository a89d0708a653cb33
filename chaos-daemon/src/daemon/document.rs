//! What is asked for and answered at the control socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{End, Phase};
use crate::{engine::FaultOutcome, record::Verdict};

/// An experiment, as the daemon knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its hand-over: unique, also among those of the same name.
    pub uid: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// If it has ended, how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Why it is where it is, in one sentence; empty where there is nothing to say.
    pub message: String,
    /// What its author expects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// `inject`, or `shadow`: nothing is hit.
    pub mode: String,
    /// Whom it hits, as its file says.
    pub target: String,
    /// Its time box.
    pub duration_seconds: f64,
    /// What is left of it, while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// When it starts, if it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<String>,
    /// How often its faults went on.
    pub runs: u64,
    /// When it may run, in words.
    pub schedule: String,
    /// When it was handed over, RFC 3339 in UTC.
    pub applied: String,
    /// When its faults went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What came of its hypothesis, if it has probes and is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Its faults, in the order of its file.
    pub faults: Vec<FaultStatus>,
}

/// What one fault has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaultStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Packets or calls that fitted.
    pub matched: u64,
    /// Of these, how many were hit.
    pub injected: u64,
    /// Packets that fitted and of which nobody can say whose they are; never hit.
    pub unattributed: u64,
    /// Of those matched, how many were not hit, by reason. Every reason is there.
    pub skipped: BTreeMap<String, u64>,
}

impl FaultStatus {
    /// From the final counts.
    pub fn of(outcome: &FaultOutcome) -> Self {
        let FaultOutcome { fault, kind, matched, injected, unattributed, skipped, .. } = outcome;
        Self {
            name: fault.clone(),
            kind: (*kind).to_owned(),
            matched: *matched,
            injected: *injected,
            unattributed: *unattributed,
            skipped: skipped.iter().map(|(why, n)| ((*why).to_owned(), *n)).collect(),
        }
    }
}

/// What came of a halt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HaltAnswer {
    /// Experiments that were switched off or, if they had not begun, will not begin.
    pub halted: Vec<String>,
    /// How many others on this host, of no daemon, were switched off.
    pub others: usize,
    /// Those that could not be switched off, and why.
    pub failed: Vec<String>,
    /// When the request was read, in nanoseconds of the kernel's boot time. No fault hits later than a moment after
    /// that: compare `last_injected_seconds` of a record.
    pub received_ns: u64,
    /// When the last one was off, likewise.
    pub off_ns: u64,
}
