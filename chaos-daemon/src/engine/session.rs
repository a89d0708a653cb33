//! One running experiment.

use std::time::{Duration, Instant};

use super::{
    boot_ns,
    error::{StartError, in_file},
    names,
    outcome::{Ended, FaultOutcome, Outcome, seconds},
    slot::Slot,
    tables::Tables,
};
use crate::{
    bpf::{self, Attached, BpfError, Cleaner, Lease, Need, Object},
    config::{ConfigError, Experiment, Mode, Problem, TargetSpec},
    guard::{capabilities, protected::Protected},
    target::{self, Cgroup, Command, Hierarchy, OwnCgroup, Target},
};
use chaos_common::{control::LEASE_NS, counters::Counters};

/// How often the lease is extended: often enough that a busy machine does not lose it.
pub const LEASE_TICK: Duration = Duration::from_millis(200);

/// How often protected processes are looked for while an experiment runs.
const PROTECT_EVERY: Duration = Duration::from_secs(1);

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
    /// Where the programs sit.
    pub attached: Attached,
    /// What is left alone.
    pub protected: Protected,
    /// Whether the target had no processes when it was looked up.
    pub found_empty: bool,
    target: String,
    // Dropped before the command: it must not be ended under its fault.
    object: Object,
    /// The command that runs as the target.
    pub command: Option<Command>,
    tables: Tables,
    hierarchy: Hierarchy,
    cgroup: Cgroup,
    looked: Instant,
    started_ns: u64,
    // Dropped last: the command's cgroup goes when nothing is attached any more.
    own_cgroup: Option<OwnCgroup>,
    _slot: Slot,
}

impl Session {
    /// Looks everything up, loads and attaches everything, and arms it at the very end: all or nothing.
    pub async fn start(experiment: Experiment, options: &Options) -> Result<Self, StartError> {
        capabilities::check()?;
        let addresses = names::of(&experiment).await?;
        let mut target = target::resolve(&experiment.target).map_err(|e| in_file(&experiment, e))?;
        let hierarchy = Hierarchy::find()?;
        let protected = Protected::find(&hierarchy, &target.cgroup, options.own_ports.clone());
        refuse_protected_target(&experiment, &target, &protected)?;
        let seed = experiment.seed.unwrap_or_else(fresh_seed);
        let mut tables =
            Tables::compile(&experiment, &addresses, &protected, seed).map_err(|p| experiment.mistake(p))?;
        remove_leftovers(&target);
        let slot = Slot::take(bpf::marks_in_use())?;
        tables.scope.cgroup_id = target.cgroup.id;
        tables.scope.cgroup_level = target.cgroup.level;
        tables.scope.tag = slot.tag();

        let needs: Vec<Need> = experiment.faults.iter().flat_map(|f| f.fault.needs()).copied().collect();
        let mut object = Object::load(&needs)?;
        object.fill(&tables)?;
        let attached = object.attach(&target)?;
        let started_ns = boot_ns();
        object.arm(&tables, started_ns, started_ns + LEASE_NS)?;
        let mut session = Self {
            target: describe(&experiment, &target),
            experiment,
            seed,
            attached,
            protected,
            found_empty: target.command.is_none() && target.cgroup.processes().pids.is_empty(),
            object,
            command: None,
            tables,
            hierarchy,
            cgroup: target.cgroup,
            looked: Instant::now(),
            started_ns,
            own_cgroup: None,
            _slot: slot,
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
        if !self.cgroup.is_there() {
            return Ok(Life::TargetGone);
        }
        if self.looked.elapsed() >= PROTECT_EVERY {
            self.protect_newcomers()?;
        }
        self.object.extend_lease(boot_ns() + LEASE_NS)?;
        Ok(Life::GoesOn)
    }

    /// A protected service may be restarted while the experiment runs, and is then in a cgroup of another id.
    fn protect_newcomers(&mut self) -> Result<(), BpfError> {
        self.looked = Instant::now();
        if self.experiment.allow_protected {
            return Ok(());
        }
        let now = Protected::find(&self.hierarchy, &self.cgroup, Vec::new());
        for (id, cgroup) in now.cgroups {
            if !self.protected.cgroups.contains_key(&id) {
                self.object.protect(id)?;
                self.protected.cgroups.insert(id, cgroup);
            }
        }
        Ok(())
    }

    /// What each fault has done so far, in file order.
    pub fn counters(&self) -> Result<Vec<Counters>, BpfError> {
        self.object.counters(self.tables.rules.len())
    }

    /// Switches the faults off, detaches everything, and takes the final counts.
    pub fn stop(&mut self, ended: Ended) -> Result<Outcome, BpfError> {
        let ran = self.elapsed().min(self.experiment.duration);
        let halted = self.object.halt();
        let mut notes = self.attached.notes();
        notes.extend(self.object.detach()?);
        halted?;
        wait_for_running_programs();
        let counters = self.counters()?;
        let faults = self.experiment.faults.iter().zip(&self.tables.rules).zip(&counters);
        Ok(Outcome {
            experiment: self.experiment.name.clone(),
            hypothesis: self.experiment.hypothesis.clone(),
            mode: mode(self.experiment.mode),
            seed: self.seed,
            target: self.target.clone(),
            duration_seconds: seconds(self.experiment.duration),
            ran_seconds: seconds(ran),
            ended,
            notes,
            faults: faults
                .map(|((spec, rule), counters)| {
                    let fault = &spec.fault;
                    FaultOutcome::new(
                        spec.name.clone(),
                        fault.kind(),
                        fault.describe(),
                        rule.threshold,
                        counters,
                    )
                })
                .collect(),
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

/// A program that was already running when its link went may still be counting. Programs run inside RCU read-side sections,
/// and membarrier(2)'s global command waits for all of them to end (`kernel/sched/membarrier.c`).
fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: a system call without pointers.
    let waited = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if waited != 0 {
        // Not on a kernel with isolated (nohz_full) CPUs; no program of ours runs this long.
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Inject => "inject",
        Mode::Shadow => "shadow",
    }
}

fn describe(experiment: &Experiment, target: &Target) -> String {
    match experiment.target.get_ref() {
        TargetSpec::Cgroup(_) => format!("cgroup {}", target.cgroup.name),
        TargetSpec::Command(words) => format!("command {}", words.join(" ")),
        TargetSpec::Host => "the whole host".to_owned(),
    }
}

/// What a killed kchaos has left on the target's devices goes before ours comes. What cannot be removed is inert.
fn remove_leftovers(target: &Target) {
    let mut cleaner = Cleaner::new(Lease::Respect);
    for namespace in &target.namespaces {
        let (removed, failed) = cleaner.clean(namespace);
        for filter in removed {
            tracing::warn!("removed {filter}");
        }
        for error in failed {
            tracing::warn!("{error}");
        }
    }
}

/// A target that consists of a protected service is most likely a mistake, and would match without ever injecting.
fn refuse_protected_target(
    experiment: &Experiment,
    target: &Target,
    protected: &Protected,
) -> Result<(), Box<ConfigError>> {
    let Some(found) = protected.cgroups.get(&target.cgroup.id) else { return Ok(()) };
    if experiment.allow_protected || target.cgroup.level == 0 {
        return Ok(());
    }
    let problem = Problem::at(
        experiment.target.span(),
        format!("{} runs in {} and is protected", found.program, found.name),
        "a protected target",
    )
    .help("to hit it all the same, write allow_protected = true above [target]");
    Err(experiment.mistake(problem))
}

/// A seed that nobody chose: it is shown, so that the run can be repeated.
fn fresh_seed() -> u64 {
    // Small enough for a TOML integer, which is signed.
    chaos_common::draw::mix(boot_ns() ^ u64::from(std::process::id()) << 32) >> 1
}
