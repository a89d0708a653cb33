//! How many files may be open: an experiment takes up to seven for every cgroup of its target (a directory and links),
//! and the usual soft limit of 1,024 would end at 150 containers.
//!
//! Programs that use select(2) rely on that limit, so a command that is started as the target gets it back.

use std::{io, sync::OnceLock};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// The limits that we were started with, soft and hard.
static GIVEN: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Takes as many as there may be.
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    GIVEN.get_or_init(|| (soft, hard));
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::debug!("raising the limit of open files to {hard}: {error}");
    }
}

/// What was given to us, for a process that is not ours. Safe between fork and exec.
pub fn give_back(given: Option<(rlim_t, rlim_t)>) -> io::Result<()> {
    if let Some((soft, hard)) = given {
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    }
    Ok(())
}

/// What [`give_back`] gives: to be asked before fork.
pub fn given() -> Option<(rlim_t, rlim_t)> {
    GIVEN.get().copied()
}
