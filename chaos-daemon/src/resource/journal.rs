//! What is to be put back, in /run/kchaos, noted before anything is written: one file for each cgroup and kind.
//!
//! Its owner holds a lock on it, which is free again when he is dead. Three others may put back what it says: the
//! [`super::keeper`] of its owner, when that is killed or stopped; `kchaos clean` and the next start, when the keeper is dead
//! as well; `kchaos halt --all`, whoever is alive. They may all do so, as what is put back already is left as it is.
//!
//! What must stay true: files are made, taken over and removed under one more lock, so that none is removed that somebody has
//! just taken.

use std::{io, path::PathBuf, thread, time::Duration};

use nix::fcntl::{Flock, FlockArg};

use super::{
    Change, Folder, ResourceError,
    note::{Note, Undone},
};
use crate::{
    guard::run_dir::{self, Lock},
    printable::printable,
};

/// The lock under which files are made and removed.
const LOCK: &str = "held";

/// What files are called, before the id of the cgroup and the kind.
const PREFIX: &str = "held-";

/// The right to hold what a kind of fault holds of one cgroup.
#[derive(Debug)]
pub struct Claim {
    file_name: String,
    file: Lock,
    note: Note,
}

impl Claim {
    /// Takes it. What a dead owner has left is put back first.
    pub fn take(
        owner: &str,
        kind: &'static str,
        (path, name, id): (PathBuf, String, u64),
    ) -> Result<Self, ResourceError> {
        let _all = run_dir::lock(LOCK, run_dir::PATIENCE).map_err(ResourceError::Journal)?;
        let file_name = format!("{PREFIX}{id}-{kind}");
        let Some(mut file) = alone(&file_name).map_err(ResourceError::Journal)? else {
            return Err(ResourceError::Busy { kind, cgroup: printable(&name) });
        };
        let Undone { restored, foreign, failed } = run_dir::noted::<Note>(&mut file).put_back();
        restored
            .iter()
            .chain(&foreign)
            .chain(&failed)
            .for_each(|what| tracing::warn!("left by a killed kchaos: {what}"));
        if !failed.is_empty() {
            return Err(ResourceError::Left { cgroup: printable(&name), why: failed.join("; ") });
        }
        let note = Note { owner: owner.to_owned(), path, name, id, changes: Vec::new() };
        run_dir::note(&file, &note).map_err(ResourceError::Journal)?;
        Ok(Self { file_name, file, note })
    }

    /// Whether anything is held.
    pub fn holds(&self) -> bool {
        !self.note.changes.is_empty()
    }

    /// The cgroup's id.
    pub fn id(&self) -> u64 {
        self.note.id
    }

    /// Its folder, if it is still there.
    pub fn folder(&self) -> io::Result<Folder> {
        Folder::open(&self.note.path, self.note.id)
    }

    /// Notes what will be changed, and changes it: all of it, or nothing.
    pub fn hold(&mut self, folder: &Folder, changes: Vec<Change>) -> io::Result<()> {
        // What could not be put back is still noted, and with it what was found before.
        if let Some(why) = self.let_go().failed.first() {
            return Err(io::Error::other(format!("it is still held: {why}")));
        }
        self.note.changes = changes;
        run_dir::note(&self.file, &self.note)?;
        let put = self.note.changes.iter().try_for_each(|change| change.put(folder));
        if put.is_err() {
            let Undone { failed, .. } = self.let_go();
            for what in failed {
                tracing::warn!("{what}");
            }
        }
        put
    }

    /// Puts everything back. What could not be put back stays noted.
    pub fn let_go(&mut self) -> Undone {
        if !self.holds() {
            return Undone::default();
        }
        let undone = self.note.put_back();
        if undone.failed.is_empty() {
            self.note.changes.clear();
            if let Err(error) = run_dir::note(&self.file, &self.note) {
                tracing::warn!("{}/{}: {error}", run_dir::PATH, self.file_name);
            }
        }
        undone
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let undone = self.let_go();
        undone.failed.iter().for_each(|what| tracing::warn!("{what}; `kchaos clean` tries again"));
        if self.holds() {
            return;
        }
        let removed =
            run_dir::lock(LOCK, run_dir::PATIENCE).and_then(|_all| run_dir::remove(&self.file_name));
        if let Err(error) = removed {
            tracing::debug!("removing {}: {error}", self.file_name);
        }
    }
}

/// A file, if nobody else holds it.
fn alone(name: &str) -> io::Result<Option<Lock>> {
    let file = run_dir::open(name).map_err(|(_, error)| error)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Puts back what the dead have left, and removes their notes.
pub fn clean() -> Undone {
    let mut undone = Undone::default();
    if files().next().is_none() {
        return undone;
    }
    let _all = match run_dir::lock(LOCK, run_dir::PATIENCE) {
        Ok(lock) => lock,
        Err(error) => {
            undone.failed.push(error.to_string());
            return undone;
        }
    };
    for name in files() {
        match alone(&name) {
            Ok(Some(mut file)) => undone.add(forget(&name, run_dir::noted::<Note>(&mut file).put_back())),
            Ok(None) => {}
            Err(error) => undone.failed.push(format!("{}/{name}: {error}", run_dir::PATH)),
        }
    }
    undone
}

/// Removes a note of which nothing is left to do.
fn forget(name: &str, mut undone: Undone) -> Undone {
    if undone.failed.is_empty()
        && let Err(error) = run_dir::remove(name)
    {
        undone.failed.push(format!("{}/{name}: {error}", run_dir::PATH));
    }
    undone
}

/// Puts back what is held on this host, whoever holds it, and leaves the notes to their owners.
pub fn put_all_back() -> Undone {
    put_back_where(|note| !note.changes.is_empty())
}

/// What the keeper of `owner` does: puts everything of his back. Tries again for a moment where that fails, and where his
/// notes are still locked although he is dead: his descriptors are being closed.
pub fn put_back_of(owner: &str, is_dead: bool) -> Undone {
    const TRIES: u32 = 20;
    let mut undone = Undone::default();
    for _ in 0..TRIES {
        undone = put_back_where(|note| note.owner == owner);
        if is_dead {
            let _those_of_others_may_fail = clean();
        }
        if undone.failed.is_empty() && !(is_dead && notes().any(|note| note.owner == owner)) {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    undone
}

/// Without a lock: the owner may hold it and be stopped.
fn put_back_where(wanted: impl Fn(&Note) -> bool) -> Undone {
    let mut undone = Undone::default();
    notes().filter(wanted).for_each(|note| undone.add(note.put_back()));
    undone
}

/// What all notes say. Each is written in one go: one that is just being written says what was there before, or what will be.
fn notes() -> impl Iterator<Item = Note> {
    let dir = PathBuf::from(run_dir::PATH);
    files().filter_map(move |name| {
        let text = std::fs::read_to_string(dir.join(name)).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    })
}

/// The names of all notes.
fn files() -> impl Iterator<Item = String> {
    run_dir::with_prefix(PREFIX).into_iter().map(|rest| format!("{PREFIX}{rest}"))
}
