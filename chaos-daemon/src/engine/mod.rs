//! Starts an experiment, keeps its lease alive, and ends it.
//!
//! [`names`] looks host names up, [`follow`] watches for what changes, [`tables`] compiles the faults into the
//! kernel's tables, [`model`] says what these must come to, [`slot`] finds a free mark for packets, [`idle`] cuts
//! connections that show no packets, [`facts`] numbers what rules ask of calls, [`places`] finds the files among that, [`prepare`] asks
//! what must be known before a start, [`found`] holds what is looked up then, [`session`] holds one running experiment, [`run`] keeps it alive, [`outcome`] says what it did and [`asked`]
//! whether that is what was asked for. What must stay true: whatever can fail is done before the first lease is written (but for starting the target's own
//! command, which must be hit from its first call on), and any way out of [`Session`] switches the faults off first.

mod asked;
mod clock;
mod error;
mod facts;
mod follow;
mod found;
mod idle;
mod interval;
pub mod model;
mod names;
mod outcome;
mod places;
mod prepare;
mod protect;
mod quiesce;
mod refresh;
mod run;
mod session;
mod slot;
mod tables;

use crate::{
    config::{ConfigError, Experiment},
    guard::protected::Protected,
    target::{self, Cgroup, Target},
};

pub use asked::asked_share;
pub use clock::{boot_ns, monotonic_ns};
pub use error::{StartError, check_stops};
pub use facts::Facts;
pub use follow::{Change, What};
pub use found::{BeforeArming, Options};
pub use interval::interval;
pub use names::of as addresses;
pub use outcome::{DelayLine, Ended, FaultOutcome, Outcome};
pub use prepare::{fresh_seed, refuse_protected_redirects, refuse_protected_target};
pub use quiesce::wait_for_running_programs;
pub use run::Run;
pub use session::{LEASE_TICK, Life, Session};
pub use tables::{Addresses, Half, Size, Tables, has_state_of_flows, quantiles};

/// Looks the target up. Its mistakes are shown at their place in the file.
pub async fn resolve(experiment: &Experiment, seed: u64) -> Result<Target, StartError> {
    target::resolve(&experiment.target, seed).await.map_err(|error| error::in_file(experiment, error))
}

/// Whether the paths that faults name are there for the members of a target.
pub fn check_paths<'a>(
    experiment: &Experiment,
    members: impl Iterator<Item = &'a Cgroup>,
) -> Result<(), Box<ConfigError>> {
    places::check(experiment, &session::processes(members))
}

/// Checks what can be checked without the kernel: host names, and whether everything fits the tables.
pub async fn check(experiment: &Experiment) -> Result<(), Box<ConfigError>> {
    let addresses = names::of(experiment).await?;
    Tables::compile(experiment, &addresses, &Protected::default(), 0, Half::FIRST)
        .map(drop)
        .map_err(|p| experiment.mistake(p))
}
