//! A fault that holds values in files of the target's cgroups, and one that sends signals: what each does when its thread
//! looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chaos_common::{counters::Skip, draw};

use super::{
    Hold, ResourceError,
    journal::Claim,
    kill::{self, Kill, Spared},
    note::Undone,
    times,
    worker::{May, Member, State, Worker},
};
use crate::{
    printable::printable,
    target::{cgroup_of_process, is_within},
};

/// How often a cgroup that is held is looked at for something protected that was moved into it since, in ns. (What is started
/// in a cgroup that stands still does so before it runs its program, and nobody can tell which that would be.)
const LOOK_AGAIN_NS: u64 = 500_000_000;

/// What a fault holds of whom.
pub struct Held {
    what: Arc<dyn Hold>,
    owner: String,
    /// Whether what is protected is hit as well.
    unguarded: bool,
    /// The right to each cgroup, by its id.
    claims: BTreeMap<u64, Claim>,
    /// Those that were looked at since it is on.
    seen: BTreeSet<u64>,
    /// When those that are held are looked at again, on the boot clock.
    again_ns: u64,
    epoch: u64,
}

impl Held {
    /// Takes the right to those that are there. In shadow mode nothing will be held.
    pub fn prepare(
        what: Arc<dyn Hold>,
        owner: &str,
        unguarded: bool,
        members: &[Member],
        shadow: bool,
    ) -> Result<Self, ResourceError> {
        let mut this = Self {
            what,
            owner: owner.to_owned(),
            unguarded,
            claims: BTreeMap::new(),
            seen: BTreeSet::new(),
            again_ns: 0,
            epoch: 0,
        };
        for member in members.iter().filter(|_| !shadow) {
            this.claim(member)?;
        }
        Ok(this)
    }

    fn claim(&mut self, member: &Member) -> Result<(), ResourceError> {
        if !self.claims.contains_key(&member.id) {
            let whose = (member.path.clone(), member.name.clone(), member.id);
            self.claims.insert(member.id, Claim::take(&self.owner, self.what.kind(), whose)?);
        }
        Ok(())
    }

    /// Holds what is to be held now, and lets go what is not.
    pub fn step(&mut self, worker: &mut Worker, state: &State, now: u64) {
        let may = worker.may(state, now);
        if may != May::Act || self.epoch != state.epoch {
            self.let_all_go(worker);
            self.epoch = state.epoch;
        }
        let there: BTreeSet<u64> = state.members.iter().map(|member| member.id).collect();
        self.seen.retain(|id| there.contains(id));
        for (_, mut claim) in self.claims.extract_if(.., |id, _| !there.contains(id)) {
            tell(worker, &claim.let_go());
        }
        if may != May::Act {
            return;
        }
        self.look_again(worker, state, now);
        for member in &state.members {
            if self.seen.contains(&member.id) {
                continue;
            }
            if !worker.may_still(state) {
                return;
            }
            self.seen.insert(member.id);
            if worker.is_hit(self.spares(member, state, true)) {
                match self.hold(member) {
                    Ok(()) => worker.injected(),
                    Err(why) => worker.failed(why),
                }
            }
        }
    }

    /// Lets go what something protected has come into. It is not held again before the fault goes on again.
    fn look_again(&mut self, worker: &Worker, state: &State, now: u64) {
        if now < self.again_ns {
            return;
        }
        self.again_ns = now + LOOK_AGAIN_NS;
        for member in &state.members {
            // One look may take its time, where there are thousands of processes.
            if !worker.may_still(state) {
                return;
            }
            let is_held = self.claims.get(&member.id).is_some_and(Claim::holds);
            if !is_held || !self.spares(member, state, false) {
                continue;
            }
            let Some(claim) = self.claims.get_mut(&member.id) else { continue };
            let undone = claim.let_go();
            tell(worker, &undone);
            if undone.failed.is_empty() {
                worker.shared.note(format!(
                    "{} was let go: something that is protected has come into {}",
                    self.what.kind(),
                    printable(&member.name)
                ));
            }
        }
    }

    /// The whole cgroup is hit, so whatever is in it counts. `if_unknown`: what to answer where nobody can tell in which
    /// cgroup we are.
    fn spares(&self, member: &Member, state: &State, if_unknown: bool) -> bool {
        let ours = || cgroup_of_process(std::process::id().cast_signed());
        let has_us = || {
            ours().map_or(if_unknown, |ours| is_within(&ours, &member.name))
                || (state.spares_kchaos && kill::has_kchaos(member))
        };
        let guarded = || state.spared.iter().any(|name| is_within(name, &member.name));
        if self.unguarded { self.what.stops_us() && has_us() } else { guarded() || has_us() }
    }

    fn hold(&mut self, member: &Member) -> Result<(), String> {
        self.claim(member).map_err(|error| error.to_string())?;
        let name = printable(&member.name);
        let Some(claim) = self.claims.get_mut(&member.id) else { return Err(format!("{name} is gone")) };
        let in_words =
            |error: std::io::Error| format!("{} could not be done to {name}: {error}", self.what.kind());
        let folder = claim.folder().map_err(in_words)?;
        let changes = self.what.changes(&folder).map_err(in_words)?;
        if changes.is_empty() {
            return Err(format!(
                "there was nothing to do to {name}: {} was asked for, and it has no more already",
                self.what.kind()
            ));
        }
        claim.hold(&folder, changes).map_err(in_words)
    }

    fn let_all_go(&mut self, worker: &Worker) {
        for claim in self.claims.values_mut() {
            tell(worker, &claim.let_go());
        }
        self.seen.clear();
    }
}

fn tell(worker: &Worker, undone: &Undone) {
    for what in &undone.foreign {
        worker.shared.note(what.clone());
    }
    for what in &undone.failed {
        worker.shared.note(format!("not put back: {what}; `kchaos clean` tries again"));
    }
}

/// A fault that sends signals.
pub struct Kills {
    what: Kill,
    /// How many of its times have passed.
    done: u64,
}

impl Kills {
    /// One that has not begun.
    pub fn new(what: Kill) -> Self {
        Self { what, done: 0 }
    }

    /// Does what is due now.
    pub fn step(&mut self, worker: &mut Worker, state: &State, now: u64) {
        let may = worker.lives(state, now);
        let every = self.what.every.map(|every| u64::try_from(every.as_nanos()).unwrap_or(u64::MAX));
        while let Some(due) = times::due(&worker.rule, every, self.done).filter(|due| *due <= now) {
            if state.stop {
                return;
            }
            self.done += 1;
            // Of several times that have passed while nobody looked, the last one is now.
            let is_last = times::due(&worker.rule, every, self.done).is_none_or(|next| next > now);
            match may {
                _ if !times::is_on(&worker.rule, None, due) => worker.skipped(Skip::Window, 1),
                May::Act if is_last => self.now(worker, state),
                May::Act | May::NoLease => worker.skipped(Skip::Lease, 1),
                May::Not => worker.skipped(Skip::Deadline, 1),
            }
        }
    }

    fn now(&self, worker: &mut Worker, state: &State) {
        let mut pids = kill::our_line();
        pids.extend(state.keeper);
        let spared = Spared {
            cgroups: &state.spared,
            pids: &pids,
            programs: state.guards,
            kchaos: state.spares_kchaos,
        };
        let mut victims = kill::victims(&state.members, &spared);
        if !self.what.all {
            // What is protected is not drawn from, but for there being nobody else.
            if victims.iter().any(|victim| !victim.protected) {
                victims.retain(|victim| !victim.protected);
            }
            if !victims.is_empty() {
                let number = draw::number(worker.rule.seed, worker.draws, 0);
                victims = vec![victims.swap_remove(kill::drawn(number, victims.len()))];
            }
        }
        for victim in victims {
            // Of many, some may be left when it is over.
            if !worker.lives_still(state) {
                worker.skipped(Skip::Lease, 1);
                continue;
            }
            if !worker.is_hit(victim.protected) {
                continue;
            }
            match victim.send(&spared, self.what.signal) {
                Ok(true) => worker.injected(),
                Ok(false) => worker.failed("a process had ended before it got its signal".to_owned()),
                Err(error) => worker.failed(format!("a process did not get its signal: {error}")),
            }
        }
    }
}
