//! What stands in `record.json`: everything that is known of a run, in a shape that later versions can still read.
//!
//! Times on the axis of a run are seconds since its faults went on, negative before that; times of day are RFC 3339 in
//! UTC. What must stay true: a field is only ever added, or [`VERSION`] goes up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of the document.
pub const VERSION: u32 = 1;

/// A run of an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// The version of this document: 1.
    pub version: u32,
    /// The name of the record's folder, unique on a host: the experiment, the time of its start, a few letters.
    pub id: String,
    /// The experiment's name.
    pub experiment: String,
    /// What its author expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What came of the hypothesis.
    pub verdict: Verdict,
    /// Who ran it, and where.
    pub by: By,
    /// Its file.
    pub file: File,
    /// When what happened.
    pub times: Times,
    /// Steady state, in the order of the file.
    pub probes: Vec<Probe>,
    /// What the faults have hit over time, in the order of the file.
    pub injections: Vec<Injections>,
    /// Stop conditions, in the order of the file.
    pub stops: Vec<Stop>,
    /// What the faults did, as `kchaos run --output json` prints it; absent if nothing was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
}

/// What came of a hypothesis, and why, in one sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Verdict {
    /// In one word.
    pub verdict: Finding,
    /// Why.
    pub reason: String,
}

impl Verdict {
    /// Whether there was nothing to find out.
    pub fn was_not_asked_for(&self) -> bool {
        self.verdict == Finding::NotAsked
    }
}

/// What came of a hypothesis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Everything was as expected, and the steady state came back.
    Held,
    /// Something was not.
    Falsified,
    /// It was ended before its time: by a stop condition, a halt, or a signal.
    Stopped,
    /// Nothing was learned: nothing was hit, the steady state was not there at the beginning, or could not be measured.
    Inconclusive,
    /// The file has no probes: nothing was asked.
    #[default]
    NotAsked,
}

/// Who ran it, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct By {
    /// The user's name, or their number; the one behind sudo.
    pub user: String,
    /// The host.
    pub host: String,
    /// Its kernel.
    pub kernel: String,
    /// The version of kchaos.
    pub kchaos: String,
    /// `run`, `inject` or `daemon`.
    pub through: String,
}

/// The experiment's file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Where it lay, if it was a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its text.
    pub text: String,
    /// The SHA-256 of its text, in hexadecimal.
    pub sha256: String,
    /// The working tree that it lay in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Git>,
}

/// A git working tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Git {
    /// The commit that is checked out.
    pub commit: String,
    /// Whether the file differs from that commit.
    pub modified: bool,
}

/// When what happened. Times of day, but for the durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// When steady state was first looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// When the faults went on; absent if they never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When they went off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// When this was written.
    pub finished: String,
    /// The time box, in seconds.
    pub time_box_seconds: f64,
    /// How long the faults were on, in seconds.
    pub on_seconds: f64,
    /// How long after the faults went off steady state was back, in seconds; absent if it was not, or nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<f64>,
}

/// A measurement of steady state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// Its name.
    pub name: String,
    /// What was measured, in words.
    pub what: String,
    /// What it should be before and after.
    pub expect: String,
    /// What it was allowed to be while the faults were on, if that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// For how long at a time it could be otherwise without harm, in seconds.
    #[serde(default)]
    pub tolerate_seconds: f64,
    /// The bound to draw as a line: the number in what it is expected to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// The unit of the values: `%` for shares (0.01 is 1 %), `s`, or nothing.
    #[serde(default)]
    pub unit: String,
    /// The mean before the faults went on, of those that measure numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<f64>,
    /// The value farthest from what was expected while the faults were on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<f64>,
    /// When it was first not as expected, in seconds since the faults went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broke_at: Option<f64>,
    /// The longest time without a break in which it was not as expected, in seconds.
    #[serde(default)]
    pub broken_seconds: f64,
    /// When it was as it should be again and stayed so, in seconds since the faults went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at: Option<f64>,
    /// Whether its part of the hypothesis held; absent if nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// Every look at it.
    pub samples: Vec<Sample>,
}

/// A look at a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// When it was asked, in seconds since the faults went on.
    pub at: f64,
    /// The number that decided, where numbers are measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// How it was.
    pub state: State,
    /// What was wrong, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a probe was at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As expected at that time.
    Well,
    /// Not as expected.
    Broken,
    /// Nobody could tell.
    #[default]
    Unknown,
}

/// What a fault has hit over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Injections {
    /// The fault.
    pub fault: String,
    /// Its kind.
    pub kind: String,
    /// How many it had hit, each time with the seconds since the faults went on; the last one is the final count.
    pub counts: Vec<(f64, u64)>,
}

/// A stop condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// Its name.
    pub name: String,
    /// When it holds, in words.
    pub what: String,
    /// The probe that measures the same and on whose plot it can be drawn, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Its bound, to draw as a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// When it stopped the experiment, in seconds since the faults went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<f64>,
}
