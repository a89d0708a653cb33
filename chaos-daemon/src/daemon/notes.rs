//! What runs, noted in /run/kchaos as long as it does, so that the next daemon can tell what a crash has ended.
//!
//! A note is a locked file: a lock is free when its holder has died, however it died. What must stay true: a note says
//! what was, and starts nothing.

use std::io::{self, Read, Seek, SeekFrom, Write};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::guard::run_dir::{self, Lock};

const PREFIX: &str = "running-";

/// What is noted of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The experiment.
    pub experiment: String,
    /// Its hand-over.
    pub uid: String,
    /// Whom it hits, in words.
    pub target: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// A note that is gone when this is dropped.
pub struct Noted {
    name: String,
    _lock: Lock,
}

impl Noted {
    /// Notes that an experiment runs.
    pub fn down(note: &Note) -> io::Result<Self> {
        let name = format!("{PREFIX}{}", note.uid);
        let mut lock = run_dir::lock(&name, run_dir::PATIENCE)?;
        lock.set_len(0)?;
        lock.seek(SeekFrom::Start(0))?;
        lock.write_all(serde_json::to_string(note)?.as_bytes())?;
        Ok(Self { name, _lock: lock })
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Err(error) = run_dir::remove(&self.name) {
            tracing::debug!("removing the note {}: {error}", self.name);
        }
    }
}

/// What ran when its daemon died. The notes are gone afterwards.
pub fn of_the_dead() -> Vec<Note> {
    let mut found = Vec::new();
    for rest in run_dir::with_prefix(PREFIX) {
        let name = format!("{PREFIX}{rest}");
        let Ok(file) = run_dir::open(&name) else { continue };
        let Ok(mut lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
        let mut text = String::new();
        let note = lock.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
        // One that cannot be read was never finished: its experiment had not begun.
        found.extend(note);
        let _gone_already = run_dir::remove(&name);
    }
    found
}
