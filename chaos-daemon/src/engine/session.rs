//! One running experiment.

use std::time::Duration;

use super::{
    boot_ns,
    error::{StartError, in_file},
    follow::{Changes, Members, What},
    names,
    outcome::{DelayLine, Ended, FaultOutcome, Outcome, seconds},
    prepare::{describe, fresh_seed, needs, refuse_protected_target, remove_leftovers},
    protect::Guard,
    refresh::Names,
    slot::Slots,
    tables::{Half, Tables},
};
use crate::{
    bpf::{Attached, BpfError, Fails, Need, Object, Wanted},
    config::Experiment,
    guard::{capabilities, files, protected::Protected},
    line::Room,
    target::{Command, Hierarchy, OwnCgroup, Target},
};
use chaos_common::{control::LEASE_NS, counters::Counters, scope::FLAG_NAMESPACES};

/// How often the lease is extended: often enough that a busy machine does not lose it.
pub const LEASE_TICK: Duration = Duration::from_millis(200);

/// How long packets that wait are still delivered after the end, those that are due by then.
const LINGER: Duration = Duration::from_secs(1);

/// What the caller adds to the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ports that kchaos itself listens on; their traffic is never hit.
    pub own_ports: Vec<u16>,
}

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
    changes: Changes,
    started_ns: u64,
    // Dropped last: the command's cgroup goes when nothing is attached any more.
    own_cgroup: Option<OwnCgroup>,
    slots: Slots,
}

/// The programs in their places, with tables that match nothing yet.
fn attached(needs: &[Need], tables: &Tables, target: &Target, number: u32) -> Result<Object, BpfError> {
    let mut object = Object::load(needs, tables.size().with_room())?;
    object
        .use_line(Wanted { number, room: Room { packets: tables.packets, bytes: tables.scope.line_bytes } });
    object.fill(tables)?;
    for member in &target.members {
        object.attach_cgroup(&member.cgroup)?;
    }
    for namespace in &target.namespaces {
        object.attach_namespace(namespace, Fails::Start)?;
    }
    Ok(object)
}

impl Session {
    /// Looks everything up, loads and attaches everything, and arms it at the very end: all or nothing.
    pub async fn start(experiment: Experiment, options: &Options) -> Result<Self, StartError> {
        capabilities::check()?;
        files::raise();
        let addresses = names::of(&experiment).await?;
        let seed = experiment.seed.unwrap_or_else(fresh_seed);
        let mut target = super::resolve(&experiment, seed).await?;
        let hierarchy = Hierarchy::find()?;
        let cgroups = target.members.iter().map(|member| &member.cgroup);
        let protected = Protected::find(&hierarchy, cgroups, options.own_ports.clone());
        refuse_protected_target(&experiment, &target, &protected)?;
        let mut tables = Tables::compile(&experiment, &addresses, &protected, seed, Half::FIRST)
            .map_err(|p| experiment.mistake(p))?;
        remove_leftovers(&target);
        let slots = Slots::take(&experiment)?;
        slots.put_into(&mut tables.scope);
        if target.selection.is_of_namespaces() {
            tables.scope.flags |= FLAG_NAMESPACES;
        }

        let needs = needs(&experiment, &target.selection);
        let mut object = attached(&needs, &tables, &target, slots.number())?;
        let started_ns = boot_ns();
        object.arm(&tables, started_ns, started_ns + LEASE_NS)?;
        let excluded = names::excluded(&experiment);
        let on = !experiment.allow_protected;
        let mut session = Self {
            target: describe(&experiment, &target),
            experiment,
            seed,
            guard: Guard::new(protected, hierarchy, on),
            found_empty: target.command.is_none()
                && target.members.iter().all(|member| member.cgroup.processes().pids.is_empty()),
            object,
            command: None,
            tables,
            picked: target.members.iter().map(|member| member.name.clone()).collect(),
            members: Members::new(target.selection, target.members, &target.namespaces),
            names: Names::start(&addresses, excluded),
            changes: Changes::default(),
            started_ns,
            own_cgroup: None,
            slots,
        };
        // Last, so that its first call is hit like any other. Until it runs, its cgroup is empty and nothing is.
        if let Some((words, own)) = target.command.take() {
            session.command = Some(own.start(&words).map_err(|e| in_file(&session.experiment, e))?);
            session.own_cgroup = Some(own);
        }
        Ok(session)
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
                tables.scope.flags |= self.tables.scope.flags & FLAG_NAMESPACES;
                self.object.replace(&tables, self.started_ns)?;
                self.tables = tables;
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

    /// Where the programs sit, and by which ways.
    pub fn attached(&self) -> Attached {
        self.object.attached()
    }

    /// What each fault has done so far, in file order.
    pub fn counters(&self) -> Result<Vec<Counters>, BpfError> {
        self.object.counters(self.tables.rules.len())
    }

    /// Switches the faults off, detaches everything, and takes the final counts.
    pub fn stop(&mut self, ended: Ended) -> Result<Outcome, BpfError> {
        let ran = self.elapsed().min(self.experiment.duration);
        let halted = self.object.halt();
        // What waits is delivered when it is due; but the end is the end, and nobody wants to wait for minutes.
        let drained = self.object.drain(LINGER);
        let attached = self.object.attached();
        let mut notes = attached.notes();
        notes.extend(self.object.detach()?);
        halted?;
        drained?;
        super::wait_for_running_programs();
        let undelivered = self.object.waiting()?;
        let counters = self.counters()?;
        let faults = self.experiment.faults.iter().zip(&self.tables.rules).zip(&counters);
        Ok(Outcome {
            experiment: self.experiment.name.clone(),
            hypothesis: self.experiment.hypothesis.clone(),
            mode: self.experiment.mode.name(),
            seed: self.seed,
            target: self.target.clone(),
            duration_seconds: seconds(self.experiment.duration),
            ran_seconds: seconds(ran),
            ended,
            notes,
            members: self.picked.clone(),
            changes: self.changes.list.clone(),
            more_changes: self.changes.more,
            delay_lines: attached
                .lines
                .into_iter()
                .map(|(network_namespace, way)| DelayLine { network_namespace, way: way.name() })
                .collect(),
            undelivered,
            faults: faults.map(|((spec, rule), counters)| FaultOutcome::of(spec, rule, counters)).collect(),
        })
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
    }
}
