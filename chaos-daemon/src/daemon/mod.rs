//! The node daemon: several experiments at once, each in a thread of its own, handed over and ended at the control socket
//! ([`crate::api`]).
//!
//! [`settings`] is what the host's owner says, [`rails`] what no experiment may do; [`registry`] knows all experiments
//! ([`entry`]: one of them), [`handing`] takes them over and [`halting`] ends them, [`worker`] is the life of one,
//! [`phase`] the steps of it; [`events`] tell of these, [`audit`] writes them down, [`alarm`] waits for the clock on the
//! wall, [`notes`] survive a crash, [`recorder`] keeps records, [`scrape`] counts. [`document`] is what is shown of it, [`refusal`] why something is
//! not taken.
//!
//! What must stay true: a thread that hangs or panics takes no other experiment with it, as each has its own lease and is
//! switched off without being asked; and the registry's lock is never held while anything is waited for.

mod alarm;
mod audit;
mod document;
mod entry;
mod events;
mod halting;
mod handing;
mod notes;
mod phase;
mod rails;
mod recorder;
mod refusal;
mod registry;
mod scrape;
mod settings;
mod time;
mod worker;

pub use audit::{Audit, Peer};
pub use document::{FaultStatus, HaltAnswer, Status};
pub use events::{Event, Events};
pub use handing::Handed;
pub use notes::{Note, of_the_dead};
pub use phase::{End, Phase};
pub use rails::Rails;
pub use refusal::Refusal;
pub use registry::Daemon;
pub use settings::{LogFormat, Settings, default_socket, load as load_settings, parse as parse_settings};

/// The lock that keeps a second daemon from starting, in /run/kchaos.
pub const LOCK: &str = "daemon";

/// Whether a daemon runs on this host, as far as this process can tell.
pub fn is_running() -> bool {
    use crate::guard::run_dir;
    // Held for a moment by whoever asks, too; a daemon that starts then tries again.
    run_dir::lock(LOCK, std::time::Duration::ZERO)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}
