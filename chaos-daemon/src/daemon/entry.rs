//! What a daemon knows of one experiment.

use std::{
    sync::{Arc, Weak},
    time::SystemTime,
};

use tokio::sync::{Mutex, watch};

use super::{End, FaultStatus, Phase, Refusal, Status};
use crate::{
    bpf::Switch,
    config::Experiment,
    engine::{Ended, Session},
    guard::stop::Standings,
    record::Verdict,
    steady::Done,
    target::{Target, is_within},
};
use chaos_common::counters::{Counters, Skip};

/// An experiment, from the moment it was handed over until it is forgotten.
pub struct Entry {
    /// Its hand-over: unique.
    pub uid: String,
    /// What the one who handed it over calls the request, so that a repeated one starts nothing.
    pub request: Option<String>,
    /// Its file.
    pub document: String,
    /// What of the file is shown.
    pub about: About,
    /// Where it is in its life.
    pub phase: Phase,
    /// How it ended.
    pub end: Option<End>,
    /// Why it is where it is, in one sentence.
    pub message: String,
    /// When it starts, if it waits for that; RFC 3339.
    pub next_start: Option<String>,
    /// When it was handed over, started and ended.
    pub times: Times,
    /// Whether its thread has said and written down all that there is.
    pub is_done: bool,
    /// Whether those who want to know of its end have been told, too.
    pub is_told: bool,
    /// How often its faults went on.
    pub runs: u64,
    /// Ends it; the reason is what is reported.
    pub orders: watch::Sender<Option<Ended>>,
    /// While its faults are on.
    pub live: Option<Live>,
    /// Whom it hits, from its checks on.
    pub reach: Option<Reach>,
    /// What it did.
    pub done: Option<Arc<Done>>,
    /// Why it did not start.
    pub refusal: Option<Refusal>,
}

/// What of an experiment's file is shown.
#[derive(Clone, Debug)]
pub struct About {
    hypothesis: Option<String>,
    mode: &'static str,
    target: String,
    duration_seconds: f64,
    schedule: String,
    faults: Vec<(String, &'static str)>,
    /// Whether it hits nothing.
    pub shadow: bool,
    /// Whether it may run beside another one on the same target.
    pub alongside: bool,
}

impl About {
    /// What stands in the file.
    pub fn of(experiment: &Experiment) -> Self {
        Self {
            hypothesis: experiment.hypothesis.clone(),
            mode: experiment.mode.name(),
            target: experiment.target.get_ref().selector.to_string(),
            duration_seconds: experiment.duration.as_secs_f64(),
            schedule: experiment.schedule.to_string(),
            faults: experiment.faults.iter().map(|f| (f.name.clone(), f.fault.kind())).collect(),
            shadow: experiment.mode == crate::config::Mode::Shadow,
            alongside: experiment.alongside,
        }
    }
}

/// Times of day.
#[derive(Clone, Debug)]
pub struct Times {
    /// When it was handed over.
    pub applied: SystemTime,
    /// When its faults went on.
    pub started: Option<SystemTime>,
    /// When it was over.
    pub ended: Option<SystemTime>,
}

/// An experiment whose faults are on.
pub struct Live {
    /// Switches them off.
    pub switch: Switch,
    /// To read its counts; its own thread keeps it.
    pub session: Weak<Mutex<Session>>,
    /// How its stop conditions stand.
    pub standings: Standings,
}

/// Whom an experiment hits, to tell whether another one hits the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Paths of its cgroups below the root of the hierarchy.
    pub cgroups: Vec<String>,
    /// Inodes of its network namespaces.
    pub namespaces: Vec<u64>,
    /// Whether everything in these is hit, whichever cgroup it is in.
    pub of_namespaces: bool,
}

impl Reach {
    /// That of a target.
    pub fn of(target: &Target) -> Self {
        Self {
            cgroups: target.members.iter().map(|member| member.cgroup.name.clone()).collect(),
            namespaces: target.namespaces.iter().map(|namespace| namespace.inode).collect(),
            of_namespaces: target.selection.is_of_namespaces(),
        }
    }

    /// Whether some process is hit by both.
    pub fn meets(&self, other: &Self) -> bool {
        if self.of_namespaces || other.of_namespaces {
            return self.namespaces.iter().any(|namespace| other.namespaces.contains(namespace));
        }
        let meet = |a: &String, b: &String| is_within(a, b) || is_within(b, a);
        self.cgroups.iter().any(|mine| other.cgroups.iter().any(|theirs| meet(mine, theirs)))
    }
}

impl Entry {
    /// Whether it still does something, or is going to.
    pub fn is_alive(&self) -> bool {
        self.phase != Phase::Ended
    }

    /// Switches its faults off, if they are on.
    pub fn switch_off(&mut self) -> Result<(), crate::bpf::BpfError> {
        self.live.as_mut().map_or(Ok(()), |live| live.switch.off())
    }

    /// What is shown of it; `counters` are those of its faults, if they are on.
    pub fn status(&self, name: &str, counters: Option<&[Counters]>, seconds_left: Option<f64>) -> Status {
        let About { hypothesis, mode, target, duration_seconds, faults, .. } = &self.about;
        let text = |time: Option<SystemTime>| time.map(super::time::text);
        Status {
            name: name.to_owned(),
            uid: self.uid.clone(),
            phase: self.phase,
            end: self.end,
            message: self.message.clone(),
            hypothesis: hypothesis.clone(),
            mode: (*mode).to_owned(),
            target: target.clone(),
            duration_seconds: *duration_seconds,
            seconds_left,
            next_start: self.next_start.clone(),
            runs: self.runs,
            schedule: self.about.schedule.clone(),
            applied: super::time::text(self.times.applied),
            started: text(self.times.started),
            ended: text(self.times.ended),
            verdict: self.verdict(),
            faults: self.faults(faults, counters),
        }
    }

    /// What came of its hypothesis, once it is over and if it has one.
    fn verdict(&self) -> Option<Verdict> {
        let done = self.done.as_ref().filter(|_| self.phase == Phase::Ended)?;
        Some(done.seen.verdict.clone()).filter(|verdict| !verdict.was_not_asked_for())
    }

    fn faults(&self, faults: &[(String, &'static str)], counters: Option<&[Counters]>) -> Vec<FaultStatus> {
        if let Some(done) = self.done.as_ref().filter(|_| self.runs > 0) {
            return done.outcome.faults.iter().map(FaultStatus::of).collect();
        }
        let none = Counters::default();
        let counted = |index: usize| counters.and_then(|all| all.get(index)).unwrap_or(&none);
        let status = |(index, (name, kind)): (usize, &(String, &'static str))| {
            let Counters { matched, injected, unattributed, skipped, .. } = counted(index);
            FaultStatus {
                name: name.clone(),
                kind: (*kind).to_owned(),
                matched: *matched,
                injected: *injected,
                unattributed: *unattributed,
                skipped: Skip::ALL
                    .iter()
                    .map(|why| (why.name().to_owned(), skipped[*why as usize]))
                    .collect(),
            }
        };
        faults.iter().enumerate().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Reach;

    fn cgroups(names: &[&str]) -> Reach {
        Reach {
            cgroups: names.iter().map(ToString::to_string).collect(),
            namespaces: vec![1],
            of_namespaces: false,
        }
    }

    #[test]
    fn cgroups_meet_where_one_lies_in_the_other() {
        for (a, b, meet) in [
            ("/shop", "/shop", true),
            ("/shop", "/shop/web", true),
            ("/", "/shop/web", true),
            ("/shop", "/shopping", false),
            ("/shop/web", "/shop/db", false),
        ] {
            assert_eq!(meet, cgroups(&[a]).meets(&cgroups(&["/other", b])), "{a} {b}");
            assert_eq!(meet, cgroups(&[b]).meets(&cgroups(&[a])), "{b} {a}");
        }
    }

    #[test]
    fn a_namespace_meets_every_cgroup_with_processes_in_it() {
        let namespace = Reach { namespaces: vec![1, 7], of_namespaces: true, ..Reach::default() };
        assert!(namespace.meets(&cgroups(&["/shop"])));
        assert!(cgroups(&["/shop"]).meets(&namespace));
        let other = Reach { namespaces: vec![2], ..namespace };
        assert!(!other.meets(&cgroups(&["/shop"])));
    }
}
