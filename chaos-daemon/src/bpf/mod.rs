//! The kernel side as seen from user space: [`object`] loads programs and maps, [`mapped`] writes the match tables and
//! [`subjects`] whom they are for,
//! [`attach`] attaches programs to cgroups and [`devices`] to network devices, of which [`monitor`] hears; [`feature`]
//! knows what can be asked of a kernel and the ways to do it, [`control`] finds every experiment on the host, and
//! [`test_run`] tries programs on packets of our own. [`clsact`], its [`netlink`] and [`leftover`] are for kernels
//! without tcx.
//!
//! What must stay true: maps are filled before anything is attached, nothing is pinned, and what is attached is a link
//! that dies with this process or, where the kernel has none, a filter that its program makes inert without a lease.

mod attach;
pub mod call;
mod clsact;
mod connections;
mod control;
mod devices;
mod facts;
mod feature;
mod leftover;
mod lines;
mod loader;
mod mapped;
mod monitor;
mod netlink;
mod object;
mod subjects;
mod tc;
mod test_run;

use thiserror::Error;

pub use attach::Attached;
pub use control::{Halted, Switch, halt_all, halt_all_but, marks_in_use};
pub use devices::Fails;
pub use feature::{Feature, Level, Need, Reduced};
pub use leftover::{Cleaner, Lease, RemovedFilter};
pub use lines::Wanted;
pub use loader::prepare_loader;
pub use mapped::bytes as map_bytes;
pub use netlink::Side;
pub use object::{COMPILER, Object};
pub use test_run::TestVerdict;

use crate::{line::LineError, target::TargetError};

/// The kernel refused something.
#[derive(Debug, Error)]
pub enum BpfError {
    /// The object file itself, or its maps.
    #[error("loading the kernel programs: {0}")]
    Object(#[from] aya::EbpfError),
    /// A map.
    #[error("using the map {name}: {error}")]
    Map {
        /// Its name.
        name: &'static str,
        /// aya's word on it.
        error: aya::maps::MapError,
    },
    /// A program or map that the object should hold is not in it.
    #[error("the kernel object has no {0}: it was built from another source")]
    Absent(&'static str),
    /// A program was refused by the verifier or could not be attached.
    #[error("{feature}: {step} {program}: {error}")]
    Program {
        /// What it is for.
        feature: Feature,
        /// "loading" or "attaching".
        step: &'static str,
        /// Its name.
        program: &'static str,
        /// aya's word on it; holds the verifier's log when loading.
        error: aya::programs::ProgramError,
    },
    /// A call cannot be caught.
    #[error("call {call}: {why}")]
    Call {
        /// Which.
        call: call::Call,
        /// Why.
        why: String,
    },
    /// Rules remember something, and programs for calls may not hold locks.
    #[error(
        "on this kernel an experiment that makes calls fail cannot have a `limit`, losses in bursts or by number, jitter \
         that correlates, or a rate: its programs may not hold the locks that these take. Linux 6.1 can do it; or make \
         two experiments of it"
    )]
    NoLocks,
    /// Files that rules name could not be found among the kernel's.
    #[error("telling files apart by their places: {0}")]
    Places(String),
    /// The programs for calls could not be put together.
    #[error("linking the kernel programs for calls: {0}")]
    Link(String),
    /// A clsact filter could not be added to a device.
    #[error("adding a tc filter on {device}: {error}")]
    Clsact {
        /// The device.
        device: String,
        /// The kernel's answer.
        error: std::io::Error,
    },
    /// The cgroups of the target are too far apart.
    #[error("the target's cgroups are at more than {} different depths", chaos_common::scope::MAX_DEPTHS)]
    TooManyDepths,
    /// The target has too many cgroups.
    #[error(
        "the target has more than {} cgroups, which is as many as can be told apart: `pick` some of them",
        chaos_common::scope::MAX_TARGETS
    )]
    TooManyTargets,
    /// This kernel can do it by the second-best way only, and that is not enough.
    #[error("{feature}: this kernel can do it by its second-best way only")]
    OnlyReduced {
        /// What.
        feature: Feature,
    },
    /// The log of the programs (cargo feature `kernel-log`).
    #[cfg(feature = "kernel-log")]
    #[error("reading the kernel programs' log: {0}")]
    KernelLog(String),
    /// A program could not be tried out on a packet.
    #[error("running {program} on a packet of our own: {error}")]
    TestRun {
        /// Its name.
        program: &'static str,
        /// aya's word on it.
        error: aya::programs::ProgramError,
    },
    /// Something else the kernel refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        error: std::io::Error,
    },
    /// There is no delay line.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The delay line has stopped working while packets were sent there.
    #[error(
        "the delay line in network namespace {namespace} is gone: somebody has removed its device, or taken it down; the \
         packets in it are lost"
    )]
    LineGone {
        /// The inode of the namespace.
        namespace: u64,
    },
    /// A network namespace or cgroup could not be reached.
    #[error(transparent)]
    Target(#[from] TargetError),
}
