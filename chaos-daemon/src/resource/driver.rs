//! The faults of an experiment that act from user space: prepared before anything is armed, begun afterwards, kept alive with
//! the lease, and ended before anything else is.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use chaos_common::{control::LEASE_NS, counters::Counters, rule::Rule};

use super::{
    Act, ResourceError,
    held::{Held, Kills},
    keeper::{self, Keeper},
    worker::{Member, Shared, Worker},
};
use crate::{
    bpf::{BpfError, Switch},
    config::{Experiment, Mode},
    engine::boot_ns,
    target::Cgroup,
};

/// What one fault will do.
enum Does {
    Hold(Box<Held>),
    Kill(Kills),
}

/// Everything that can fail, done; nothing has been changed yet.
pub struct Prepared {
    owner: String,
    faults: Vec<(usize, Option<u64>, Does)>,
    all: usize,
    members: Vec<Member>,
    spares_kchaos: bool,
    guards: bool,
    // Dropped last: it waits until nothing is held any more.
    keeper: Option<Keeper>,
}

impl Prepared {
    /// Takes the rights to what will be held, and starts the keeper of it. `spares_kchaos`: whether processes of our own
    /// program are left alone, whoever runs it.
    pub fn of<'a>(
        experiment: &Experiment,
        cgroups: impl Iterator<Item = &'a Cgroup>,
        spares_kchaos: bool,
    ) -> Result<Self, ResourceError> {
        let members: Vec<Member> = cgroups.map(member).collect();
        let owner = keeper::fresh_owner();
        let shadow = experiment.mode == Mode::Shadow;
        let mut faults = Vec::new();
        let mut holds = false;
        for (index, spec) in experiment.faults.iter().enumerate() {
            let Some(act) = spec.fault.acts() else { continue };
            let (lasts, does) = match act {
                Act::Kill(kill) => (None, Does::Kill(Kills::new(kill))),
                Act::Hold(what) => {
                    holds = !shadow;
                    let lasts = what.lasts().map(nanos);
                    let held = Held::prepare(what, &owner, experiment.allow_protected, &members, shadow)?;
                    (lasts, Does::Hold(Box::new(held)))
                }
            };
            faults.push((index, lasts, does));
        }
        let keeper = holds.then(|| Keeper::start(&owner)).transpose().map_err(ResourceError::Keeper)?;
        let (all, guards) = (experiment.faults.len(), !experiment.allow_protected);
        Ok(Self { owner, faults, all, members, spares_kchaos, guards, keeper })
    }

    /// Begins, by rules with times on the boot clock.
    pub fn begin(
        self,
        rules: &[Rule],
        guarded: Vec<String>,
        switch: impl Fn() -> Result<Switch, BpfError>,
    ) -> Result<Driver, ResourceError> {
        let Self { owner, mut keeper, faults, all, members, spares_kchaos, guards } = self;
        // Its patience counts from its start, and the verifier may have taken longer.
        if keeper.as_mut().is_some_and(|keeper| !keeper.beat()) {
            keeper = Some(Keeper::start(&owner).map_err(ResourceError::Keeper)?);
        }
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.state();
            state.lease_ns = boot_ns() + LEASE_NS;
            state.counts = vec![Counters::default(); all];
            state.keeper = keeper.as_ref().map(Keeper::pid);
            (state.members, state.spared) = (members, guarded);
            (state.spares_kchaos, state.guards) = (spares_kchaos, guards);
        }
        // From here on this is what ends everything, also if a thread cannot be started.
        let mut driver = Driver { owner, keeper, shared, threads: Vec::new() };
        for (index, lasts, does) in faults {
            let Some(rule) = rules.get(index) else { continue };
            let switch = switch().map_err(|error| ResourceError::Thread(std::io::Error::other(error)))?;
            let shared = Arc::clone(&driver.shared);
            let worker = Worker { index, rule: *rule, lasts, switch, shared, draws: 0, hits: 0 };
            let work = move || match does {
                Does::Hold(mut held) => {
                    worker.until_its_end(|worker, state, now| held.step(worker, state, now));
                }
                Does::Kill(mut kills) => {
                    worker.until_its_end(|worker, state, now| kills.step(worker, state, now));
                }
            };
            let thread = thread::Builder::new().name(format!("fault-{index}")).spawn(work);
            driver.threads.push(thread.map_err(ResourceError::Thread)?);
        }
        Ok(driver)
    }
}

/// How often it is looked whether a thread has ended.
const LOOK: Duration = Duration::from_millis(2);

/// Faults that act, or none. Dropping it ends them, and puts everything back.
#[derive(Default)]
pub struct Driver {
    owner: String,
    keeper: Option<Keeper>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Driver {
    /// Goes on for another lease, with those that are in the target now and what is protected among them.
    pub fn keep_alive<'a>(&mut self, cgroups: impl Iterator<Item = &'a Cgroup>, guarded: Vec<String>) {
        if self.threads.is_empty() {
            return;
        }
        let was_gone = self.keeper.as_mut().is_some_and(|keeper| !keeper.beat());
        if was_gone {
            {
                let mut state = self.shared.state();
                state.epoch += 1;
                // Nothing is held while nobody keeps watch.
                (state.lease_ns, state.keeper) = (0, None);
            }
            match Keeper::start(&self.owner) {
                Ok(keeper) => self.keeper = Some(keeper),
                // Without one nothing is held: the lease is not extended.
                Err(error) => return self.shared.note(ResourceError::Keeper(error).to_string()),
            }
        }
        let now = boot_ns();
        let mut state = self.shared.state();
        if now >= state.lease_ns {
            state.epoch += 1;
        }
        state.lease_ns = now + LEASE_NS;
        state.keeper = self.keeper.as_ref().map(Keeper::pid);
        state.members = cgroups.map(member).collect();
        state.spared = guarded;
    }

    /// What was done, by fault.
    pub fn counts(&self) -> Vec<Counters> {
        self.shared.state().counts.clone()
    }

    /// Ends everything and puts everything back. Answers with what people should know.
    pub fn stop(&mut self) -> Vec<String> {
        self.shared.state().stop = true;
        self.shared.wake();
        for thread in self.threads.drain(..) {
            // The kernel may take seconds for a change that was begun. Until it is put back somebody must keep watch.
            while !thread.is_finished() {
                self.keeper.as_mut().map(Keeper::beat);
                thread::sleep(LOOK);
            }
            if thread.join().is_err() {
                self.shared.note(
                    "a fault ended by a bug of kchaos; what it held is put back all the same".to_owned(),
                );
            }
        }
        // Its last work, if a thread could not do its own.
        self.keeper = None;
        std::mem::take(&mut self.shared.state().notes)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop();
    }
}

fn member(cgroup: &Cgroup) -> Member {
    Member { path: cgroup.path.clone(), name: cgroup.name.clone(), id: cgroup.id }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
