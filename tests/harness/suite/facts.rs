//! What this kernel can do, asked once, before the first test: `kchaos check`.

use std::{fmt, fs, process::Stdio, sync::OnceLock};

use chaos_daemon::{bpf::Feature, target::Hierarchy};
use serde::Deserialize;

use super::expect::{self, Level, Levels};
use crate::kchaos;

/// What `kchaos check --output json` has said on this kernel, for a process that need not ask again: on some it takes many
/// seconds.
pub const CHECKED: &str = "KCHAOS_CHECKED";

static FACTS: OnceLock<Facts> = OnceLock::new();

/// What is known about the machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// "6.1".
    pub line: String,
    /// Whether it may be changed.
    pub guest: bool,
    /// Whether it is a guest that has the large servers.
    pub servers: bool,
    /// Whether its cgroups v2 have the controllers cpu, memory and io: in a guest they only have to be switched on.
    pub controllers: bool,
    /// The lines of the guests that share tests (`KCHAOS_SPREAD`): each of those that need `spread` runs in one. With
    /// none, this one runs them all.
    pub spread: Vec<String>,
    /// The line of the machine itself (`KCHAOS_LEFT_TO`) where guests are so slow that it alone runs what it can of those.
    pub left_to: Option<String>,
    /// All that `kchaos check` said.
    pub said: String,
    answers: Vec<Answer>,
    expected: Option<Levels>,
}

/// What `kchaos check` says about one feature.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The feature's id.
    pub feature: String,
    /// What it is good for.
    pub serves: String,
    /// How well it works.
    pub answer: Level,
    /// In which way.
    #[serde(default)]
    pub way: Option<String>,
    /// Why not better.
    #[serde(default)]
    pub reason: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feature, answer, way, reason, .. } = self;
        let level = format!("{answer:?}").to_lowercase();
        write!(f, "needs {feature}, here: {level}")?;
        let details: Vec<&str> = [way, reason].into_iter().flatten().map(String::as_str).collect();
        if details.is_empty() { Ok(()) } else { write!(f, " ({})", details.join("; ")) }
    }
}

impl Facts {
    /// What the kernel says about a feature.
    pub fn answer(&self, feature: Feature) -> &Answer {
        self.answers
            .iter()
            .find(|a| a.feature == feature.id())
            .unwrap_or_else(|| panic!("kchaos check says nothing about {}", feature.id()))
    }

    /// How well it works.
    pub fn level(&self, feature: Feature) -> Level {
        self.answer(feature).answer
    }

    /// What was known about this kernel in advance, if anything.
    pub fn expected(&self) -> Option<&Levels> {
        self.expected.as_ref()
    }

    /// A machine of which this is known.
    #[cfg(test)]
    pub fn known(line: &str, answers: Levels, expected: Option<Levels>) -> Self {
        let answer = |(feature, answer)| Answer {
            feature,
            serves: String::new(),
            answer,
            way: None,
            reason: Some("a reason".into()),
        };
        let answers = answers.into_iter().map(answer).collect();
        Self {
            line: line.to_owned(),
            guest: false,
            servers: false,
            controllers: false,
            spread: Vec::new(),
            left_to: None,
            said: String::new(),
            answers,
            expected,
        }
    }
}

/// What was asked before the first test.
pub fn facts() -> &'static Facts {
    FACTS.get().expect("the suite asks before it starts")
}

/// The kernel's release, and its first two numbers.
pub fn kernel() -> (String, String) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned();
    let line = release.split('.').take(2).collect::<Vec<_>>().join(".");
    (release, line)
}

/// Asks.
pub fn ask() -> Result<&'static Facts, String> {
    #[derive(Deserialize)]
    struct Report {
        features: Vec<Answer>,
    }
    let said = match std::env::var(CHECKED) {
        Ok(said) => said,
        Err(_unasked) => check()?,
    };
    let report: Report =
        serde_json::from_str(&said).map_err(|e| format!("kchaos check cannot be understood: {e}\n{said}"))?;
    let line = kernel().1;
    let expected = expect::levels(&line);
    let [guest, servers] = ["KCHAOS_GUEST", "KCHAOS_SERVERS"].map(|name| std::env::var_os(name).is_some());
    let controllers = has_controllers(guest)?;
    let spread = std::env::var("KCHAOS_SPREAD").unwrap_or_default();
    let spread = spread.split(',').filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let left_to = std::env::var("KCHAOS_LEFT_TO").ok();
    let answers = report.features;
    Ok(FACTS.get_or_init(|| Facts {
        line,
        guest,
        servers,
        controllers,
        spread,
        left_to,
        said,
        answers,
        expected,
    }))
}

fn check() -> Result<String, String> {
    let mut check = kchaos();
    let output = check
        .args(["check", "--output", "json"])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("kchaos check does not start: {e}"))?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8(said).map_err(|e| format!("kchaos check says what is no text: {e}"))
}

fn has_controllers(guest: bool) -> Result<bool, String> {
    let root = Hierarchy::find().map_err(|e| e.to_string())?;
    let file = if guest { "cgroup.controllers" } else { "cgroup.subtree_control" };
    let there = fs::read_to_string(root.mount().join(file)).map_err(|e| format!("{file}: {e}"))?;
    Ok(["cpu", "memory", "io"].iter().all(|wanted| there.split_whitespace().any(|word| word == *wanted)))
}
