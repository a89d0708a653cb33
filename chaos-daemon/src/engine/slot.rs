//! Which mark on a packet this experiment uses: one of the upper eight bits of `tc_index`.
//!
//! A packet passes several devices on its way out and is marked by the first that judges it. Experiments that run at the
//! same time need marks of their own. The mark is a lock on a file in /run/kchaos, free again when its holder dies,
//! however it dies; and not in use by any experiment that the kernel knows of, as a container has a /run of its own.
//! What does not look at packets at devices (connect and call faults, losses at the socket) takes none. The lower eight bits are left alone: Cilium keeps flags there, and classids that other filters leave are small.

use std::{io::Write, path::PathBuf};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use chaos_common::{line, rule::hook, scope::Scope};

use crate::{
    bpf::{self, Feature},
    config::Experiment,
    guard::run_dir::{self, Lock},
};

const SLOTS: u32 = 8;
const FIRST_BIT: u32 = 8;

// Each has a number of its own for the device that packets wait in.
const _: () = assert!(SLOTS == line::LINES);

/// A mark that is ours as long as this lives.
#[derive(Debug)]
pub struct Slot {
    number: u32,
    _lock: Lock,
}

/// No mark could be had.
#[derive(Debug, Error)]
pub enum SlotError {
    /// All are in use.
    #[error(
        "all {SLOTS} marks for packets are in use on this host: an experiment with faults for packets takes one, and two \
         where a fault works on packets as they arrive (direction ingress or both); stop one (kchaos halt --all stops all, `kchaos clean` \
         removes what killed ones have left)"
    )]
    Full,
    /// The directory or a file in it.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        error: std::io::Error,
    },
}

impl Slot {
    /// Takes the first mark that is free here and not among `used`, the marks of all experiments the kernel knows of.
    pub fn take(used: u32) -> Result<Self, SlotError> {
        for number in (0..SLOTS).filter(|n| used & bit(*n) == 0) {
            let file = run_dir::open(&format!("slot-{number}"))
                .map_err(|(path, error)| SlotError::Io { path, error })?;
            if let Ok(mut lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                // For a person who looks: who holds it. Nothing reads it.
                let _only_a_hint = lock.set_len(0).and_then(|()| writeln!(*lock, "{}", std::process::id()));
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(SlotError::Full)
    }

    /// The mark: one bit of `tc_index`.
    pub fn tag(&self) -> u32 {
        bit(self.number)
    }
}

fn bit(number: u32) -> u32 {
    1 << (FIRST_BIT + number)
}

/// The marks of one experiment: one for packets on their way out, and another one for those on their way in if a fault
/// may send them on from there once more. None where no fault looks at packets at devices.
#[derive(Debug)]
pub struct Slots {
    out: Option<Slot>,
    arrival: Option<Slot>,
    line: bool,
}

impl Slots {
    /// Takes what `experiment` needs.
    pub fn take(experiment: &Experiment) -> Result<Self, SlotError> {
        let hooks = experiment.faults.iter().fold(0, |hooks, fault| hooks | fault.fault.hooks());
        if hooks & (hook::EGRESS | hook::ARRIVAL) == 0 {
            return Ok(Self { out: None, arrival: None, line: false });
        }
        let used = bpf::marks_in_use();
        let out = Slot::take(used)?;
        let at_arrival = hooks & hook::ARRIVAL != 0;
        let arrival = if at_arrival { Some(Slot::take(used | out.tag())?) } else { None };
        let needs = experiment.faults.iter().flat_map(|fault| fault.fault.needs());
        let line = needs.into_iter().any(|need| need.feature == Feature::DelayLine);
        Ok(Self { out: Some(out), arrival, line })
    }

    /// The experiment's number on this host; 0 for one without marks, which has no line to number.
    pub fn number(&self) -> u32 {
        self.out.as_ref().map_or(0, |out| out.number)
    }

    /// Tells the programs.
    pub fn put_into(&self, scope: &mut Scope) {
        scope.tag = self.out.as_ref().map_or(0, Slot::tag);
        scope.arrival_tag = self.arrival.as_ref().map_or(0, Slot::tag);
        if self.line {
            scope.line = line::index(self.number());
        }
    }
}
