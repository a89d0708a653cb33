//! What a test needs, and what is known in advance about each kernel.

use std::collections::BTreeMap;

use chaos_daemon::bpf::Feature;
use serde::Deserialize;

use super::{
    Facts, Test,
    share::{falls_to, is_left_to_host},
};

/// Lines of kernels, with what each can do. Compiled in, because guests do not have the file.
const TABLE: &str = include_str!("../../expectations.toml");

/// The line of kernels whose guest must have the large servers.
pub const SERVERS_ON: &str = "6.12";

/// How well a kernel can do something.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Not at all.
    No,
    /// In another way, or not all of it.
    Degraded,
    /// As it should be.
    Yes,
}

/// Features by their ids.
pub type Levels = BTreeMap<String, Level>;

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The feature, in whichever way and quality this kernel has it.
    Any(Feature),
    /// The feature in the best way and with nothing missing.
    Full(Feature),
    /// A machine that may be changed: its clock, say.
    Guest,
    /// containerd, dnsmasq and the like, which guests do not have.
    Services,
    /// Postgres, Redis, nginx and their clients, which are on the host and in one guest only.
    Servers,
    /// Cgroup v2 with the controllers cpu, memory and io, which guests have.
    Controllers,
    /// To be run on this machine: what it tests is the same on every kernel, and guests are slow. Those that do not share
    /// ([`Facts::spread`]) run it all the same.
    Once,
    /// To be run on this machine and in one of the guests: each guest of a run has its share of these tests, and with
    /// `--whole` all of them. Where guests are translated, this machine is enough, if it can ([`Facts::left_to`]).
    Spread,
    /// Nothing: on this machine it runs beside others of this kind (`suite::together`).
    Together,
}

impl Need {
    /// Its name in the report.
    pub fn id(self) -> &'static str {
        match self {
            Self::Any(feature) | Self::Full(feature) => feature.id(),
            Self::Guest => "guest",
            Self::Services => "services",
            Self::Servers => "servers",
            Self::Controllers => "controllers",
            Self::Once => "once",
            Self::Spread => "spread",
            Self::Together => "together",
        }
    }

    /// Whether features of this level meet it, if it is one for features.
    fn met_by(self, level: impl Fn(Feature) -> Level) -> bool {
        match self {
            Self::Any(feature) => level(feature) >= Level::Degraded,
            Self::Full(feature) => level(feature) == Level::Yes,
            Self::Guest
            | Self::Services
            | Self::Servers
            | Self::Controllers
            | Self::Once
            | Self::Spread
            | Self::Together => false,
        }
    }

    /// The same of what the table knows about a line.
    pub fn met_by_line(self, table: &BTreeMap<String, Levels>, line: &str) -> bool {
        let level = |f: Feature| table.get(line).and_then(|levels| levels.get(f.id()));
        self.met_by(|f| level(f).copied().unwrap_or(Level::No))
    }

    fn met_here(self, test: &Test, facts: &Facts) -> bool {
        match self {
            Self::Guest => facts.guest,
            // `cargo xtask setup` installs it where it is missing.
            Self::Services => !facts.guest,
            Self::Once => !facts.guest || facts.spread.is_empty(),
            Self::Spread => {
                !facts.guest
                    || !is_left_to_host(test, facts)
                        && falls_to(test, &facts.spread).is_none_or(|line| line == facts.line)
            }
            Self::Together => true,
            Self::Servers => !facts.guest || facts.servers,
            Self::Controllers => facts.controllers,
            Self::Any(_) | Self::Full(_) => self.met_by(|f| facts.level(f)),
        }
    }
}

/// A need that is not met.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub feature: &'static str,
    /// What this kernel says about it.
    pub reason: String,
    /// Whether the table says so, too; `None` if this kernel is not in it.
    pub foreseen: Option<bool>,
}

impl Missing {
    /// Why this is not a skip but a failure.
    pub fn failure(&self) -> Option<String> {
        (self.foreseen == Some(false)).then(|| format!("unforeseen skip: {}", self.reason))
    }
}

/// What the table knows about a line of kernels.
pub fn levels(line: &str) -> Option<Levels> {
    table().remove(line)
}

/// All that is known.
pub fn table() -> BTreeMap<String, Levels> {
    toml::from_str(TABLE).unwrap_or_else(|e| panic!("tests/expectations.toml: {e}"))
}

/// The first of a test's needs that is not met here.
pub fn missing(test: &Test, facts: &Facts) -> Option<Missing> {
    let need = *test.needs.iter().find(|need| !need.met_here(test, facts))?;
    let foreseen = |levels: &Levels| !need.met_by(|f| levels.get(f.id()).copied().unwrap_or(Level::No));
    let (reason, foreseen) = match need {
        Need::Guest => ("changes the machine: only in a guest".to_owned(), Some(true)),
        Need::Services => ("has no containerd or dnsmasq: only on the host".to_owned(), Some(true)),
        Need::Servers => {
            let reason = format!("has no Postgres and nginx: only the guest with {SERVERS_ON}");
            (reason, Some(facts.line != SERVERS_ON))
        }
        Need::Controllers => {
            ("has no cgroup v2 with the controllers cpu, memory and io".to_owned(), Some(!facts.guest))
        }
        Need::Once => (
            "the same on every kernel: only on the host; --whole runs it in guests, too".to_owned(),
            Some(true),
        ),
        Need::Spread if is_left_to_host(test, facts) => (
            "this machine runs it: guests are translated here; --shared runs it in one of them".to_owned(),
            Some(true),
        ),
        Need::Spread => {
            let line = falls_to(test, &facts.spread).unwrap_or("another");
            (format!("falls to the guest with {line}; --whole runs it in all of them"), Some(true))
        }
        Need::Together => return None,
        Need::Any(feature) | Need::Full(feature) => {
            (facts.answer(feature).to_string(), facts.expected().map(foreseen))
        }
    };
    Some(Missing { feature: need.id(), reason, foreseen })
}

#[cfg(test)]
mod tests {
    use chaos_daemon::bpf::Feature;

    use super::{Level, Levels, Missing, Need, SERVERS_ON, TABLE, levels};
    use crate::suite::{Facts, Test};

    const NEEDS: [&[Need]; 3] = [
        &[Need::Any(Feature::TcEgress)],
        &[Need::Full(Feature::TcEgress)],
        &[Need::Any(Feature::CgroupConnect)],
    ];

    fn missing(needs: &'static [Need], facts: &Facts) -> Option<Missing> {
        super::missing(&test("suite::a::test", needs), facts)
    }

    fn test(path: &'static str, needs: &'static [Need]) -> Test {
        Test { path, needs, run: || {} }
    }

    fn facts(answer: Level, expected: Option<Level>) -> Facts {
        let levels = |level: Level| Feature::every().map(|f| (f.id().to_owned(), level)).collect();
        Facts::known("6.1", levels(answer), expected.map(levels))
    }

    /// What becomes of a test with each of the needs.
    fn outcomes(answer: Level, expected: Option<Level>) -> [&'static str; 3] {
        let facts = facts(answer, expected);
        NEEDS.map(|need| match super::missing(&test("suite::a::test", need), &facts).map(|m| m.foreseen) {
            None => "runs",
            Some(Some(true)) => "foreseen",
            Some(Some(false)) => "unforeseen",
            Some(None) => "unknown kernel",
        })
    }

    #[test]
    fn what_is_there_is_not_missing() {
        assert_eq!(["runs"; 3], outcomes(Level::Yes, Some(Level::No)));
        assert_eq!(["runs", "foreseen", "runs"], outcomes(Level::Degraded, Some(Level::Degraded)));
    }

    #[test]
    fn a_skip_is_foreseen_only_if_the_table_says_the_same() {
        assert_eq!(["foreseen"; 3], outcomes(Level::No, Some(Level::No)));
        assert_eq!(["unforeseen"; 3], outcomes(Level::No, Some(Level::Yes)));
        let half = ["unforeseen", "foreseen", "unforeseen"];
        assert_eq!(half, outcomes(Level::No, Some(Level::Degraded)));
    }

    #[test]
    fn an_unforeseen_skip_is_a_failure_and_an_unknown_kernel_is_not() {
        let missing = |foreseen| Missing { feature: "x", reason: "no x".into(), foreseen };
        assert_eq!(Some("unforeseen skip: no x".to_owned()), missing(Some(false)).failure());
        assert_eq!(None, missing(Some(true)).failure());
        assert_eq!(None, missing(None).failure());
        assert_eq!(["unknown kernel"; 3], outcomes(Level::No, None));
    }

    #[test]
    fn only_a_guest_may_be_changed_and_only_the_host_has_containerd() {
        let mut facts = facts(Level::Yes, Some(Level::Yes));
        assert_eq!(Some(Some(true)), missing(&[Need::Guest], &facts).map(|m| m.foreseen));
        assert_eq!(None, missing(&[Need::Services], &facts));
        facts.guest = true;
        assert_eq!(None, missing(&[Need::Guest], &facts));
        assert_eq!(Some(Some(true)), missing(&[Need::Services], &facts).map(|m| m.foreseen));
    }

    #[test]
    fn servers_are_on_the_host_and_in_the_guest_that_was_given_them() {
        let mut facts = facts(Level::Yes, Some(Level::Yes));
        assert_eq!(None, missing(&[Need::Servers], &facts));
        facts.guest = true;
        assert_eq!(Some(Some(true)), missing(&[Need::Servers], &facts).map(|m| m.foreseen));
        SERVERS_ON.clone_into(&mut facts.line);
        assert_eq!(Some(Some(false)), missing(&[Need::Servers], &facts).map(|m| m.foreseen));
        facts.servers = true;
        assert_eq!(None, missing(&[Need::Servers], &facts));
    }

    #[test]
    fn the_table_names_every_feature_of_every_line() {
        let lines: std::collections::BTreeMap<String, Levels> = toml::from_str(TABLE).unwrap();
        assert!(lines.len() >= 5, "{lines:?}");
        let ids: std::collections::BTreeSet<&str> = Feature::every().map(Feature::id).collect();
        for (line, levels) in &lines {
            assert_eq!(ids, levels.keys().map(String::as_str).collect(), "{line}");
        }
        assert!(levels("6.18").is_some() && levels("4.19").is_none());
    }
}
