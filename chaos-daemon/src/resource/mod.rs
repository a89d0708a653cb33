//! Faults that act from user space: on processes, by signals ([`kill`]), and on cgroups, by values in their own files that
//! are held for a while and put back ([`pause`], [`cpu`], [`memory`], [`io`]). No packet or call passes them, so there is no
//! program of theirs in the kernel; their rules are in its tables all the same, with no hook, so that times, seed, limit,
//! shadow mode and counts are those of every other fault.
//!
//! [`check`] refuses what cannot be done here, [`driver`] does it, in a thread for each fault ([`worker`], [`held`]).
//! [`files`] reads and writes the files of one cgroup, [`journal`] notes what was found in them before anything is written,
//! and [`keeper`] is a process of its own that puts it back when kchaos is killed or stopped.
//!
//! What must stay true: only files of the target's own cgroups are written; what was found is noted first and put back at
//! every end; and a value that somebody else has written meanwhile is his, and stays.

pub mod check;
pub mod cpu;
mod driver;
mod files;
mod held;
pub mod io;
pub mod journal;
pub mod keeper;
pub mod kill;
pub mod memory;
mod note;
pub mod pause;
mod times;
mod worker;

use std::{fmt, io as std_io, sync::Arc, time::Duration};

use thiserror::Error;

use crate::config::Problem;
pub use driver::{Driver, Prepared};
pub use files::{Back, Change, Folder};

/// What a fault does from user space.
#[derive(Clone, Debug)]
pub enum Act {
    /// It sends signals.
    Kill(kill::Kill),
    /// It holds values in files of a cgroup.
    Hold(Arc<dyn Hold>),
}

/// Values that are held in files of a cgroup for as long as a fault is on.
pub trait Hold: fmt::Debug + Send + Sync {
    /// Its kind: no two experiments hold the same of one cgroup.
    fn kind(&self) -> &'static str;

    /// The controller whose files they are; `None`: those that every cgroup has.
    fn controller(&self) -> Option<&'static str>;

    /// The files that it may write.
    fn files(&self) -> &'static [&'static str];

    /// How long it lasts once it is on; `None`: as long as the fault is.
    fn lasts(&self) -> Option<Duration> {
        None
    }

    /// Whether a kchaos that is in the cgroup itself could not end it any more.
    fn stops_us(&self) -> bool {
        false
    }

    /// What else must be there on this host.
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }

    /// What is to be written, by what is there now; nothing where it would change nothing.
    fn changes(&self, cgroup: &Folder) -> std_io::Result<Vec<Change>>;
}

/// Why a fault cannot act from user space here. Nothing was changed.
#[derive(Debug, Error)]
pub enum ResourceError {
    /// A file of the target's cgroup is missing, or cannot be written.
    #[error("{kind} cannot be done to {cgroup}: {why}")]
    Unable {
        /// The kind of the fault.
        kind: &'static str,
        /// The cgroup, below the root.
        cgroup: String,
        /// Why, and what to do.
        why: String,
    },
    /// Another experiment, or another fault of the same one, holds it already.
    #[error(
        "another fault of kind {kind} holds {cgroup} already, of this experiment or of another one on this host: one at a time, \
         or nobody could tell what to put back"
    )]
    Busy {
        /// The kind of the fault.
        kind: &'static str,
        /// The cgroup, below the root.
        cgroup: String,
    },
    /// What a killed kchaos has left could not be put back, and what was found there before must not be forgotten.
    #[error(
        "what a killed kchaos holds of {cgroup} could not be put back: {why}; `kchaos clean` tries again"
    )]
    Left {
        /// The cgroup, below the root.
        cgroup: String,
        /// What could not be put back, and why.
        why: String,
    },
    /// What is found cannot be noted in /run/kchaos.
    #[error("noting what is to be put back: {0}")]
    Journal(#[source] std_io::Error),
    /// There would be nobody to put it back.
    #[error("starting the process that puts everything back if kchaos is killed: {0}")]
    Keeper(#[source] std_io::Error),
    /// A thread.
    #[error("starting a thread: {0}")]
    Thread(#[source] std_io::Error),
}
