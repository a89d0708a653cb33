//! Two settings of the loopback device that a delay line needs, changed while there is one in a network namespace.
//!
//! An IPv4 packet that returns to `lo` from a line has lost its route, and the kernel looks at it as if it came from
//! outside: it drops what comes from one of its own addresses (`accept_local`), and what goes to 127.0.0.0/8
//! (`route_localnet`).
//!
//! What was found is written to a file of the namespace in /run/kchaos before anything is changed. Each user holds a
//! shared lock on it; who can have it for himself is the last one, puts back what was found, and removes the file. One
//! that was killed leaves the file without a lock: the next user takes it over, and `kchaos clean` does what the dead
//! one would have done. Whatever is done to such files is done under one more lock, so nobody can take one while
//! somebody else removes it. A setting that someone has changed meanwhile is his, and stays.

mod found;

use std::{fmt, io, path::PathBuf, sync::Arc};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use self::found::Found;
use super::run_dir::{self, Lock};
use crate::target::{NetNs, TargetError, inside};

/// The lock under which files are made and removed.
const LOCK: &str = "loopback";

/// What the file of a namespace is called, before the namespace's inode.
const PREFIX: &str = "loopback-";

/// The settings could not be made, or not put back.
#[derive(Debug, Error)]
pub enum LoopbackError {
    /// A setting could not be read or written.
    #[error("{}: {error}{}", path.display(), advice(error))]
    Setting {
        /// Its file.
        path: PathBuf,
        /// The kernel's answer.
        error: io::Error,
    },
    /// The file in /run/kchaos, or a lock.
    #[error("noting the settings of the loopback device: {0}")]
    Note(#[source] io::Error),
    /// The namespace could not be entered.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// The one answer that needs explaining.
fn advice(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
        " (settings cannot be changed from inside this container: run kchaos on its host, or set this to 1 before)"
    } else {
        ""
    }
}

/// A setting that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Its name.
    pub setting: String,
    /// What it is again.
    pub value: u8,
    /// In which network namespace.
    pub namespace: u64,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, value, namespace } = self;
        write!(
            f,
            "net.ipv4.conf.lo.{setting} = 1 of a killed kchaos in network namespace {namespace} (it is {value} again)"
        )
    }
}

/// The settings are as a line needs them while this lives.
#[derive(Debug)]
pub struct Loopback {
    namespace: Arc<NetNs>,
    /// Shared; nothing once it is given back.
    file: Option<Lock>,
}

impl Loopback {
    /// Makes the settings in a namespace, or joins those who have.
    pub fn set(namespace: &Arc<NetNs>) -> Result<Self, LoopbackError> {
        let (file, made) = join(namespace)?;
        // From here on this is a user, and undoes what there is to undo when it goes, also if it goes at once.
        let this = Self { namespace: namespace.clone(), file: Some(file) };
        made?;
        Ok(this)
    }

    /// Puts back what was found, if nobody else needs it any more.
    fn leave(&self, mut file: Lock) -> Result<(), LoopbackError> {
        let _all = run_dir::lock(LOCK, run_dir::PATIENCE).map_err(LoopbackError::Note)?;
        if file.relock(FlockArg::LockExclusiveNonblock).is_err() {
            return Ok(());
        }
        restore(&self.namespace, &run_dir::noted(&mut file))?;
        run_dir::remove(&name(self.namespace.inode)).map_err(LoopbackError::Note)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.file.take().map(|file| self.leave(file)) {
            tracing::warn!(
                "settings of the loopback device in network namespace {} were not put back ({error}); \
                 `kchaos clean` does so",
                self.namespace.inode
            );
        }
    }
}

/// Takes the file of a namespace, shared, and makes the settings.
fn join(namespace: &NetNs) -> Result<(Lock, Result<(), LoopbackError>), LoopbackError> {
    let _all = run_dir::lock(LOCK, run_dir::PATIENCE).map_err(LoopbackError::Note)?;
    let (mut file, alone) = lock(namespace.inode).map_err(LoopbackError::Note)?;
    let cookie = namespace.cookie().ok();
    let mut found: Found = run_dir::noted(&mut file);
    // What a dead one has left may be about another namespace of the same inode.
    if alone && found.cookie != cookie {
        found = Found::default();
    }
    found.cookie = cookie;
    let made = inside(namespace, || {
        if alone {
            found.forget_others();
        }
        found.change(&file)
    });
    let shared = file.relock(FlockArg::LockSharedNonblock).map_err(|e| LoopbackError::Note(e.into()));
    Ok((file, made.map_err(LoopbackError::from).flatten().and(shared)))
}

/// Puts back what killed ones have left on the host, where these are all of its namespaces. What cannot be put back does
/// not keep the rest.
pub fn clean(namespaces: &[NetNs]) -> (Vec<Restored>, Vec<LoopbackError>) {
    let (mut restored, mut failed) = (Vec::new(), Vec::new());
    for inode in left() {
        // A namespace that is not there any more has taken its settings along.
        match clean_file(inode, namespaces.iter().find(|n| n.inode == inode)) {
            Ok(more) => restored.extend(more),
            Err(error) => failed.push(error),
        }
    }
    (restored, failed)
}

/// Puts back what killed ones have left in one namespace.
pub fn clean_namespace(namespace: &NetNs) -> Result<Vec<Restored>, LoopbackError> {
    if left().any(|inode| inode == namespace.inode) {
        clean_file(namespace.inode, Some(namespace))
    } else {
        Ok(Vec::new())
    }
}

/// Inodes of the namespaces that there are files of.
fn left() -> impl Iterator<Item = u64> {
    run_dir::with_prefix(PREFIX).into_iter().filter_map(|inode| inode.parse().ok())
}

fn clean_file(inode: u64, namespace: Option<&NetNs>) -> Result<Vec<Restored>, LoopbackError> {
    let _all = run_dir::lock(LOCK, run_dir::PATIENCE).map_err(LoopbackError::Note)?;
    let (mut file, alone) = lock(inode).map_err(LoopbackError::Note)?;
    if !alone {
        return Ok(Vec::new());
    }
    let found: Found = run_dir::noted(&mut file);
    // Another namespace may have the inode by now.
    let restored = match namespace.filter(|n| n.cookie().ok() == found.cookie) {
        Some(namespace) => restore(namespace, &found)?,
        None => Vec::new(),
    };
    run_dir::remove(&name(inode)).map_err(LoopbackError::Note)?;
    Ok(restored)
}

fn restore(namespace: &NetNs, found: &Found) -> Result<Vec<Restored>, LoopbackError> {
    let put_back = || {
        let mut restored = Vec::new();
        for (setting, value) in &found.changed {
            // Not one that somebody else has changed since.
            if found::is_ours(setting)? {
                found::write(setting, *value)?;
                restored.push(Restored {
                    setting: setting.clone(),
                    value: *value,
                    namespace: namespace.inode,
                });
            }
        }
        Ok(restored)
    };
    inside(namespace, put_back)?
}

fn name(inode: u64) -> String {
    format!("{PREFIX}{inode}")
}

/// The file of a namespace: for us alone if that can be (`true`), else shared. The caller holds [`LOCK`].
fn lock(inode: u64) -> io::Result<(Lock, bool)> {
    let open = || run_dir::open(&name(inode)).map_err(|(_, error)| error);
    match Flock::lock(open()?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok((lock, true)),
        Err((file, _)) => Flock::lock(file, FlockArg::LockSharedNonblock)
            .map(|lock| (lock, false))
            .map_err(|(_, e)| e.into()),
    }
}
