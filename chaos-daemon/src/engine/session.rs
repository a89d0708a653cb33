//! One running experiment: its start, and what keeps it on. [`end`] is how it ends.

mod end;

use std::time::Duration;

use super::{
    boot_ns,
    error::{StartError, in_file},
    follow::{Changes, Members, What},
    found::{Found, Options},
    idle::{self, Idle},
    names,
    places::Places,
    prepare::{describe, needs},
    protect::Guard,
    refresh::Names,
    slot::Slots,
    tables::{Addresses, Tables},
};
use crate::{
    bpf::{Attached, BpfError, Fails, Need, Object, Switch, Wanted},
    config::Experiment,
    line::Room,
    resource::{Driver, Prepared},
    target::{Cgroup, Command, OwnCgroup, Target},
};
use chaos_common::{
    control::LEASE_NS,
    counters::Counters,
    scope::{FLAG_NAMESPACES, FLAG_OURS_SPARED},
};

/// How often the lease is extended: often enough that a busy machine does not lose it.
pub const LEASE_TICK: Duration = Duration::from_millis(200);

/// An experiment that injects. Dropping it detaches everything.
pub struct Session {
    /// The experiment as read.
    pub experiment: Experiment,
    /// What its draws start from.
    pub seed: u64,
    /// What is left alone.
    pub guard: Guard,
    /// Whether the target had no processes when it was looked up.
    pub found_empty: bool,
    target: String,
    // Dropped before the command: it must not be ended under its fault.
    object: Object,
    /// The command that runs as the target.
    pub command: Option<Command>,
    tables: Tables,
    members: Members,
    /// Who was in the target at the start.
    picked: Vec<String>,
    names: Option<Names>,
    addresses: Addresses,
    idle: Idle,
    places: Places,
    /// What acts from user space.
    resources: Driver,
    changes: Changes,
    started_ns: u64,
    // Dropped last: the command's cgroup goes when nothing is attached any more.
    own_cgroup: Option<OwnCgroup>,
    slots: Slots,
}

/// The programs in their places, with tables that match nothing yet.
fn attached(needs: &[Need], tables: &Tables, target: &Target, number: u32) -> Result<Object, BpfError> {
    let mut object = Object::load(needs, tables.size().with_room(), tables.uses())?;
    object
        .use_line(Wanted { number, room: Room { packets: tables.packets, bytes: tables.scope.line_bytes } });
    object.fill(tables)?;
    for member in &target.members {
        object.attach_cgroup(&member.cgroup)?;
    }
    for namespace in &target.namespaces {
        object.attach_namespace(namespace, Fails::Start)?;
    }
    object.catch_calls()?;
    Ok(object)
}

pub(super) fn cgroups(target: &Target) -> impl Iterator<Item = &Cgroup> {
    target.members.iter().map(|member| &member.cgroup)
}

fn is_empty(target: &Target) -> bool {
    cgroups(target).all(|cgroup| cgroup.processes().pids.is_empty())
}

/// The processes of a target, as far as they must be looked at to know the file systems that they see.
pub(super) fn processes<'a>(cgroups: impl Iterator<Item = &'a Cgroup>) -> Vec<i32> {
    const MOST: usize = 512;
    cgroups.flat_map(|cgroup| cgroup.processes().pids).take(MOST).collect()
}

impl Session {
    /// Looks everything up, loads and attaches everything, and arms it at the very end: all or nothing.
    pub async fn start(experiment: Experiment, options: &Options<'_>) -> Result<Self, StartError> {
        let Found { addresses, seed, mut target, hierarchy, protected, tables, slots } =
            Found::by(&experiment, options).await?;
        let mut object = attached(&needs(&experiment, &target.selection), &tables, &target, slots.number())?;
        let places = Places::of(&experiment, &mut object, &tables.facts, &processes(cgroups(&target)))?;
        let resources = Prepared::of(&experiment, cgroups(&target), options.spares_kchaos)?;
        if let Some(may) = options.before_arming {
            may(object.switch()?).map_err(StartError::NotNow)?;
        }
        let started_ns = boot_ns();
        object.arm(&tables, started_ns, started_ns + LEASE_NS)?;
        let command = target.command.take();
        let mut session = Self {
            target: describe(&experiment, &target),
            guard: Guard::new(protected, hierarchy, !experiment.allow_protected),
            names: Names::start(&addresses, names::excluded(&experiment)),
            experiment,
            seed,
            found_empty: command.is_none() && is_empty(&target),
            object,
            command: None,
            tables,
            picked: target.members.iter().map(|member| member.name.clone()).collect(),
            members: Members::of(target, options.forbidden.clone()),
            addresses,
            idle: Idle::default(),
            places,
            resources: Driver::default(),
            changes: Changes::default(),
            started_ns,
            own_cgroup: None,
            slots,
        };
        // Last, so that its first call is hit like any other. Until it runs, its cgroup is empty and nothing is.
        if let Some((words, own)) = command {
            session.command = Some(own.start(&words).map_err(|e| in_file(&session.experiment, e))?);
            session.own_cgroup = Some(own);
        }
        // Not before the command runs: nothing can be started in a cgroup that stands still.
        let rules = session.tables.rules_from(started_ns);
        session.resources = resources.begin(&rules, session.guard.names(), || session.object.switch())?;
        session.cut_idle()?;
        Ok(session)
    }

    /// Cuts connections that no packet shows.
    fn cut_idle(&mut self) -> Result<(), StartError> {
        let faults = &self.experiment.faults;
        if !faults.iter().any(|fault| fault.fault.cuts_idle()) || self.object.halted()? {
            return Ok(());
        }
        let of_namespaces = self.tables.scope.flags & FLAG_NAMESPACES != 0;
        let look = idle::Look {
            faults,
            rules: &self.tables.rules_from(self.started_ns),
            names: &self.addresses,
            protected: &self.guard.protected,
            guarded: !self.experiment.allow_protected,
            cgroups: (!of_namespaces).then(|| self.members.cgroups().collect()),
            namespaces: &self.object.namespaces(),
        };
        self.idle.cut(&look).map_err(StartError::Connections)
    }

    /// The target in words.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(boot_ns().saturating_sub(self.started_ns))
    }

    /// How much of the time box is left.
    pub fn left(&self) -> Duration {
        self.experiment.duration.saturating_sub(self.elapsed())
    }

    /// Keeps the faults on for another lease, unless `kchaos halt` has switched them off. Must be called every
    /// [`LEASE_TICK`]; without it they end within the lease.
    pub fn keep_alive(&mut self) -> Result<Life, BpfError> {
        if self.object.halted()? {
            return Ok(Life::Halted);
        }
        if self.members.gone_for_good() {
            return Ok(Life::TargetGone);
        }
        self.object.extend_lease(boot_ns() + LEASE_NS)?;
        self.guard.look_again(&mut self.object, self.members.cgroups())?;
        let changes = self.members.follow(&mut self.object, &mut self.guard)?;
        self.note(changes);
        self.follow_names()?;
        let members = &self.members;
        let unfollowed =
            self.places.follow(&mut self.object, &self.tables.facts, || processes(members.cgroups()));
        self.note(unfollowed.into_iter().collect());
        self.resources.keep_alive(self.members.cgroups(), self.guard.names());
        if let Err(error) = self.cut_idle() {
            tracing::warn!("{error}");
        }
        self.object.forget_lost()?;
        self.object.extend_lease(boot_ns() + LEASE_NS)?;
        Ok(Life::GoesOn)
    }

    /// Puts new tables in the place of the old ones when host names have got other addresses.
    fn follow_names(&mut self) -> Result<(), BpfError> {
        let Some(names) = &mut self.names else { return Ok(()) };
        let (changes, addresses) = names.changes();
        self.note(changes);
        let Some(addresses) = addresses else { return Ok(()) };
        let half = self.object.other_half(&self.tables);
        match Tables::compile(&self.experiment, &addresses, &self.guard.protected, self.seed, half) {
            Ok(mut tables) => {
                self.slots.put_into(&mut tables.scope);
                tables.scope.flags |= self.tables.scope.flags & (FLAG_NAMESPACES | FLAG_OURS_SPARED);
                self.object.replace(&tables, self.started_ns)?;
                self.tables = tables;
                self.addresses = addresses;
            }
            Err(problem) => {
                self.note(vec![What::TooMany { error: problem.message }]);
            }
        }
        Ok(())
    }

    fn note(&mut self, changes: Vec<What>) {
        let after = self.elapsed();
        for what in changes {
            self.changes.note(after, what);
        }
    }

    /// What switches its faults off from any thread, however busy this one is.
    pub fn switch(&self) -> Result<Switch, BpfError> {
        self.object.switch()
    }

    /// Where the programs sit, and by which ways.
    pub fn attached(&self) -> Attached {
        self.object.attached()
    }

    /// What each fault has done so far, in file order.
    pub fn counters(&self) -> Result<Vec<Counters>, BpfError> {
        let mut counters = self.object.counters(self.tables.rules.len())?;
        for (sum, cut) in counters.iter_mut().zip(&self.idle.counts) {
            sum.add(cut);
        }
        for (sum, acted) in counters.iter_mut().zip(&self.resources.counts()) {
            sum.add(acted);
        }
        Ok(counters)
    }
}

/// Whether an experiment still injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It does.
    GoesOn,
    /// `kchaos halt` has switched it off.
    Halted,
    /// The target's cgroup is gone: there is nothing left to hit. A service that is restarted gets a new one.
    TargetGone,
}

impl Drop for Session {
    /// Whatever way it ends: the faults are off before anything is taken down. The programs go with their descriptors.
    fn drop(&mut self) {
        if let Err(error) = self.object.halt() {
            tracing::debug!("halting while dropping: {error}");
        }
        // Before the command ends, which could not if it stood still.
        self.resources.stop();
    }
}
