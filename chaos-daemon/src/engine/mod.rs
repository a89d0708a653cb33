//! Starts an experiment, keeps its lease alive, and ends it.
//!
//! [`names`] looks host names up, [`follow`] watches for what changes, [`tables`] compiles the faults into the
//! kernel's tables, [`model`] says what these must come to, [`slot`] finds a free mark for packets, [`prepare`] asks
//! what must be known before a start, [`session`] holds one running experiment, [`outcome`] says what it did and [`asked`]
//! whether that is what was asked for. What must stay true: whatever can fail is done before the first lease is written (but for starting the target's own
//! command, which must be hit from its first call on), and any way out of [`Session`] switches the faults off first.

mod asked;
mod clock;
mod error;
mod follow;
mod interval;
pub mod model;
mod names;
mod outcome;
mod prepare;
mod protect;
mod quiesce;
mod refresh;
mod session;
mod slot;
mod tables;

use crate::{
    config::{ConfigError, Experiment},
    guard::protected::Protected,
    target::{self, Target},
};

pub use clock::{boot_ns, monotonic_ns};
pub use error::StartError;
pub use follow::{Change, What};
pub use interval::interval;
pub use names::of as addresses;
pub use outcome::{DelayLine, Ended, FaultOutcome, Outcome};
pub use prepare::{fresh_seed, refuse_protected_target};
pub use quiesce::wait_for_running_programs;
pub use session::{LEASE_TICK, Life, Options, Session};
pub use tables::{Addresses, Half, Size, Tables, has_state_of_flows, quantiles};

/// Looks the target up. Its mistakes are shown at their place in the file.
pub async fn resolve(experiment: &Experiment, seed: u64) -> Result<Target, StartError> {
    target::resolve(&experiment.target, seed).await.map_err(|error| error::in_file(experiment, error))
}

/// Checks what can be checked without the kernel: host names, and whether everything fits the tables.
pub async fn check(experiment: &Experiment) -> Result<(), Box<ConfigError>> {
    let addresses = names::of(experiment).await?;
    Tables::compile(experiment, &addresses, &Protected::default(), 0, Half::FIRST)
        .map(drop)
        .map_err(|p| experiment.mistake(p))
}
