//! What an experiment did: asked against done, for people and as JSON.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::follow::Change;
use chaos_common::{
    counters::{Counters, Skip},
    rule::Rule,
};
use serde::Serialize;

use super::asked::{Asked, compare};
use crate::{bpf::call::Way, config::FaultSpec, printable::printable};

/// How an experiment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason", content = "detail")]
pub enum Ended {
    /// The time box was over.
    TimeBox,
    /// Ctrl-C or SIGTERM.
    Interrupted(String),
    /// `kchaos halt`.
    Halted,
    /// One of its stop conditions.
    StopCondition {
        /// Its name.
        name: String,
        /// Why it holds, in words.
        why: String,
    },
    /// The target's cgroup went away.
    TargetGone,
    /// The command that was the target ended by itself.
    CommandEnded(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimeBox => f.write_str("ended"),
            Self::Interrupted(by) => write!(f, "stopped by {by}"),
            Self::Halted => f.write_str("halted by kchaos halt"),
            Self::StopCondition { name, why } => {
                write!(f, "stopped by its condition \"{}\" ({})", printable(name), printable(why))
            }
            Self::TargetGone => f.write_str("the target's cgroup went away (was it restarted?)"),
            Self::CommandEnded(how) => write!(f, "the command ended by itself ({how})"),
        }
    }
}

/// Everything there is to say about a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The experiment.
    pub experiment: String,
    /// What its author expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// "inject" or "shadow".
    pub mode: &'static str,
    /// What its draws started from: the same seed draws the same faults again.
    pub seed: u64,
    /// Its target, in words.
    pub target: String,
    /// The time box, in seconds.
    pub duration_seconds: f64,
    /// How long it ran, in seconds.
    pub ran_seconds: f64,
    /// When it started: nanoseconds of the kernel's boot time.
    pub started_ns: u64,
    /// Why it ended.
    pub ended: Ended,
    /// What was not done as it should be: second-best ways of this kernel, filters of others that run first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Who was in the target at the start.
    pub members: Vec<String>,
    /// Who joined and left, and which host names changed, while it ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// How many more changes there were than are listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub more_changes: usize,
    /// How packets waited that had to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delay_lines: Vec<DelayLine>,
    /// Calls that were caught in the kernel's own functions, and how.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CaughtCall>,
    /// Packets that went into the delay line and never came out: those not due within a second after the end, and
    /// those that the line has lost.
    #[serde(skip_serializing_if = "is_none")]
    pub undelivered: u64,
    /// Its faults.
    pub faults: Vec<FaultOutcome>,
}

/// Where packets waited.
#[derive(Clone, Debug, Serialize)]
pub struct DelayLine {
    /// Inode of the network namespace.
    pub network_namespace: u64,
    /// `fq`, in the kernel, or `tap`, in kchaos itself.
    pub way: &'static str,
}

/// How a call was caught.
#[derive(Clone, Debug, Serialize)]
pub struct CaughtCall {
    /// Which: `read`, `open`, ...
    pub call: &'static str,
    /// `fmod_ret`, `lsm` or `syscall`.
    pub way: Way,
    /// The kernel's functions.
    pub functions: Vec<String>,
}

/// What one fault did.
#[derive(Clone, Debug, Serialize)]
pub struct FaultOutcome {
    /// Its name.
    pub fault: String,
    /// Its kind.
    pub kind: &'static str,
    /// What it does, in words.
    pub effect: String,
    /// The share that was asked for, 0 to 1: in the long run, for losses that come in bursts. `None`: it was not asked
    /// for by a share, and nothing can be compared.
    pub asked: Option<f64>,
    /// Packets or calls that fitted.
    pub matched: u64,
    /// Of these, how many were hit.
    pub injected: u64,
    /// When the last one was hit, in seconds since the start of the experiment, to the nanosecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_injected_seconds: Option<f64>,
    /// Packets that fitted and belong to no socket, so that nobody can say whose they are: not among `matched`, never
    /// hit.
    pub unattributed: u64,
    /// Of these, how many were not, by reason. Every reason is there.
    pub skipped: BTreeMap<&'static str, u64>,
    /// How often the dice were thrown.
    pub draws: u64,
    /// How often they said yes: injected, or not for a reason that comes after the draw (shadow mode, a call that was
    /// denied already, a line that was full, ...).
    pub hits: u64,
    /// The share of hits among the draws.
    pub share: Option<f64>,
    /// The 99.9 % confidence interval of the true share. `None` without draws, and where it is exact.
    pub interval: Option<(f64, f64)>,
    /// Whether what was asked for lies in the interval; where it is exact, whether it was done to the packet.
    pub as_asked: Option<bool>,
}

/// What a hit may come to instead of an injection: reasons that are found out after the draw.
const AFTER_THE_DRAW: [Skip; 6] =
    [Skip::Limit, Skip::Shadow, Skip::Denied, Skip::Failed, Skip::Overflow, Skip::Lost];

impl FaultOutcome {
    /// From what the kernel counted since the boot time `started_ns`. `rule` is what it was told.
    pub fn of(spec: &FaultSpec, rule: &Rule, counters: &Counters, started_ns: u64) -> Self {
        let skipped = |reason: Skip| counters.skipped[reason as usize];
        let hits = counters.injected + AFTER_THE_DRAW.into_iter().map(skipped).sum::<u64>();
        let draws = hits + skipped(Skip::Probability);
        let Asked { share, interval, done } = compare(rule, hits, draws);
        Self {
            fault: spec.name.clone(),
            kind: spec.fault.kind(),
            effect: spec.fault.describe(),
            asked: share,
            matched: counters.matched,
            injected: counters.injected,
            last_injected_seconds: (counters.injected > 0).then(|| {
                Duration::from_nanos(counters.last_injected_ns.saturating_sub(started_ns)).as_secs_f64()
            }),
            unattributed: counters.unattributed,
            skipped: Skip::ALL.iter().map(|reason| (reason.name(), skipped(*reason))).collect(),
            draws,
            hits,
            share: (draws > 0).then(|| hits as f64 / draws as f64),
            interval,
            as_asked: done,
        }
    }

    /// How many were hit, or would have been in shadow mode.
    pub fn hit(&self) -> u64 {
        self.injected + self.skipped.get(Skip::Shadow.name()).copied().unwrap_or(0)
    }
}

impl Outcome {
    /// Whether no fault matched anything: nothing was tested.
    pub fn matched_nothing(&self) -> bool {
        self.faults.iter().all(|f| f.matched == 0)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// Seconds to the millisecond.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
