//! One fault that acts from user space, in a thread of its own: when it is on, who is in its reach, what it may do, and what
//! it has done. What it does is in [`super::held`] and [`super::kill`].
//!
//! What must stay true: nothing is done outside the rule's times, without a lease, after the halt mark, or to what is
//! protected; and whatever is due is counted once.

use std::{
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chaos_common::{
    counters::{Counters, Skip},
    draw,
    rule::{FLAG_SHADOW, Rule},
};

use super::times;
use crate::{bpf::Switch, engine::boot_ns};

/// How often the halt mark is looked at: it must count within 10 ms.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A cgroup of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its folder.
    pub path: PathBuf,
    /// Its path below the root.
    pub name: String,
    /// Its id.
    pub id: u64,
}

/// What all faults of an experiment share with the engine.
#[derive(Debug, Default)]
pub struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

/// What is so now.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Nothing is done past this boot time.
    pub lease_ns: u64,
    /// Another one after every gap in the lease: what was held before may have been put back by others.
    pub epoch: u64,
    /// The target.
    pub members: Vec<Member>,
    /// Cgroups with something protected in them, by name.
    pub spared: Vec<String>,
    /// Whether processes of our own program are left alone, too.
    pub spares_kchaos: bool,
    /// Whether protected programs are left alone.
    pub guards: bool,
    /// The process that puts everything back.
    pub keeper: Option<i32>,
    /// It is over.
    pub stop: bool,
    /// What was done, by fault.
    pub counts: Vec<Counters>,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Shared {
    /// A thread that panicked must not keep the others from ending.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has changed.
    pub fn wake(&self) {
        self.wake.notify_all();
    }

    /// Waits so long, or until something has changed.
    fn wait(&self, at_most: Duration) {
        let state = self.state();
        if !state.stop {
            let _ended_either_way = self.wake.wait_timeout(state, at_most);
        }
    }

    /// Tells people, once.
    pub fn note(&self, what: String) {
        const MOST: usize = 100;
        let mut state = self.state();
        if state.notes.len() < MOST && !state.notes.contains(&what) {
            state.notes.push(what);
        }
    }
}

/// What a thread of a fault goes by.
pub struct Worker {
    /// Its position in the file.
    pub index: usize,
    /// Its times, draws and limit.
    pub rule: Rule,
    /// How long it lasts from its start at most, in ns.
    pub lasts: Option<u64>,
    /// Says whether it was halted.
    pub switch: Switch,
    /// What the engine says.
    pub shared: std::sync::Arc<Shared>,
    /// How many draws there were.
    pub draws: u64,
    /// How many of them said yes.
    pub hits: u64,
}

/// Whether a fault may do something now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It may.
    Act,
    /// It is outside its times, or everything is over.
    Not,
    /// Its lease is over, or it was halted.
    NoLease,
}

impl Worker {
    /// Looks, again and again, until it is over: `step` does what is to be done at that time of the boot clock, and once
    /// more at the end.
    pub fn until_its_end(mut self, mut step: impl FnMut(&mut Self, &State, u64)) {
        loop {
            let state = self.shared.state().clone();
            step(&mut self, &state, boot_ns());
            if state.stop {
                return;
            }
            let edge = times::until_edge(&self.rule, boot_ns()).unwrap_or(LOOK_EVERY);
            self.shared.wait(edge.min(LOOK_EVERY));
        }
    }

    /// Whether what was begun may go on: looked at anew, as one change of many may have taken the kernel seconds.
    pub fn may_still(&self, begun: &State) -> bool {
        let state = self.shared.state();
        state.epoch == begun.epoch && self.may(&state, boot_ns()) == May::Act
    }

    /// The same for what is due at moments.
    pub fn lives_still(&self, begun: &State) -> bool {
        let state = self.shared.state();
        state.epoch == begun.epoch && self.lives(&state, boot_ns()) == May::Act
    }

    /// Whether it may do something at this time.
    pub fn may(&self, state: &State, now: u64) -> May {
        match self.lives(state, now) {
            May::Act if !times::is_on(&self.rule, self.lasts, now) => May::Not,
            may => may,
        }
    }

    /// The same for what is due at moments, which may come later than it was due: in whichever phase it is.
    pub fn lives(&self, state: &State, now: u64) -> May {
        if state.stop || now >= self.rule.deadline_ns {
            return May::Not;
        }
        // A mark that cannot be read is one.
        if now >= state.lease_ns || self.switch.is_off().unwrap_or(true) {
            return May::NoLease;
        }
        May::Act
    }

    /// One that is due: whether it is to be hit. Counted as matched, and if not, why.
    pub fn is_hit(&mut self, protected: bool) -> bool {
        let why = self.judge(protected);
        self.count(|counts| {
            counts.matched += 1;
            if let Some(why) = why {
                counts.skipped[why as usize] += 1;
            }
        });
        why.is_none()
    }

    fn judge(&mut self, protected: bool) -> Option<Skip> {
        if protected {
            return Some(Skip::Protected);
        }
        self.draws += 1;
        if !draw::hit(self.rule.seed, self.draws - 1, self.rule.threshold) {
            return Some(Skip::Probability);
        }
        if self.rule.limit > 0 && self.hits >= self.rule.limit {
            return Some(Skip::Limit);
        }
        self.hits += 1;
        (self.rule.flags & FLAG_SHADOW != 0).then_some(Skip::Shadow)
    }

    /// One that was to be hit was.
    pub fn injected(&self) {
        let now = boot_ns();
        self.count(|counts| {
            counts.injected += 1;
            counts.last_injected_ns = now;
        });
    }

    /// It could not be, or there was nothing to do.
    pub fn failed(&self, why: String) {
        self.count(|counts| counts.skipped[Skip::Failed as usize] += 1);
        self.shared.note(why);
    }

    /// Some were due and were not looked at.
    pub fn skipped(&self, why: Skip, how_many: u64) {
        self.count(|counts| {
            counts.matched += how_many;
            counts.skipped[why as usize] += how_many;
        });
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        if let Some(counts) = self.shared.state().counts.get_mut(self.index) {
            change(counts);
        }
    }
}
