//! Starts an experiment, keeps its lease alive, and ends it.
//!
//! [`names`] looks host names up, [`tables`] compiles the faults into the kernel's tables, [`slot`] finds a free mark for
//! packets, [`session`] holds one running experiment, [`outcome`] says what it did. What must stay true: whatever can
//! fail is done before the first lease is written (but for starting the target's own command, which must be hit from its
//! first call on), and any way out of [`Session`] switches the faults off first.

mod clock;
mod error;
mod interval;
mod names;
mod outcome;
mod session;
mod slot;
mod tables;

use crate::{
    config::{ConfigError, Experiment},
    guard::protected::Protected,
};

pub use clock::boot_ns;
pub use error::StartError;
pub use interval::interval;
pub use outcome::{Ended, FaultOutcome, Outcome};
pub use session::{LEASE_TICK, Life, Options, Session};
pub use tables::Tables;

/// Checks what can be checked without the kernel: host names, and whether everything fits the tables.
pub async fn check(experiment: &Experiment) -> Result<(), Box<ConfigError>> {
    let addresses = names::of(experiment).await?;
    Tables::compile(experiment, &addresses, &Protected::default(), 0)
        .map(drop)
        .map_err(|p| experiment.mistake(p))
}
