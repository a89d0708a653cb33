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

use std::{
    fmt, fs,
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::run_dir::{self, Lock};
use crate::target::{NetNs, TargetError, inside};

/// The settings, and what they must be.
const NEEDED: [(&str, u8); 2] = [("route_localnet", 1), ("accept_local", 1)];

const DIR: &str = "/proc/sys/net/ipv4/conf/lo";

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

/// What was found in a namespace.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    /// The namespace beyond doubt: inodes are used again. Unknown before Linux 5.14.
    cookie: Option<u64>,
    /// Settings that were changed, and what they were.
    changed: Vec<(String, u8)>,
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
        let _all = run_dir::lock(LOCK, run_dir::PATIENCE).map_err(LoopbackError::Note)?;
        let (mut file, alone) = lock(namespace.inode).map_err(LoopbackError::Note)?;
        let cookie = namespace.cookie().ok();
        let mut found = Found::read(&mut file);
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
        // From here on this is a user, and undoes what there is to undo when it goes.
        let this = Self { namespace: namespace.clone(), file: Some(file) };
        made??;
        shared?;
        Ok(this)
    }

    /// Puts back what was found, if nobody else needs it any more.
    fn leave(&self, mut file: Lock) -> Result<(), LoopbackError> {
        let _all = run_dir::lock(LOCK, run_dir::PATIENCE).map_err(LoopbackError::Note)?;
        if file.relock(FlockArg::LockExclusiveNonblock).is_err() {
            return Ok(());
        }
        restore(&self.namespace, &Found::read(&mut file))?;
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
    let found = Found::read(&mut file);
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
            if is_ours(setting)? {
                write(setting, *value)?;
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

impl Found {
    /// Nothing where nothing was written, or only half of it: no setting is changed before.
    fn read(file: &mut Lock) -> Self {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        read.ok().and_then(|_| serde_json::from_str(text.lines().next()?).ok()).unwrap_or_default()
    }

    /// In one write, which a signal does not cut in two; what was longer before ends at the line.
    fn write(&self, file: &Lock) -> io::Result<()> {
        let text = serde_json::to_string(self)? + "\n";
        file.write_all_at(text.as_bytes(), 0)
    }

    /// Of what a dead one has left, only that still counts which is as he made it.
    fn forget_others(&mut self) {
        self.changed.retain(|(setting, _)| is_ours(setting).unwrap_or(false));
    }

    /// Makes the settings that are not made yet, inside the namespace.
    fn change(&mut self, file: &Lock) -> Result<(), LoopbackError> {
        for (setting, needed) in NEEDED {
            let value = read(setting)?;
            if value == needed {
                continue;
            }
            if !self.changed.iter().any(|(known, _)| known == setting) {
                self.changed.push((setting.to_owned(), value));
            }
            self.write(file).map_err(LoopbackError::Note)?;
            write(setting, needed)?;
        }
        Ok(())
    }
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

fn read(setting: &str) -> Result<u8, LoopbackError> {
    let path = Path::new(DIR).join(setting);
    let wrong = |error| LoopbackError::Setting { path: path.clone(), error };
    fs::read_to_string(&path).map_err(wrong)?.trim().parse().map_err(|e| wrong(io::Error::other(e)))
}

fn write(setting: &str, value: u8) -> Result<(), LoopbackError> {
    let path = Path::new(DIR).join(setting);
    fs::write(&path, value.to_string()).map_err(|error| LoopbackError::Setting { path, error })
}

/// Whether a setting is as a line needs it.
fn is_ours(setting: &str) -> Result<bool, LoopbackError> {
    let value = read(setting)?;
    Ok(NEEDED.iter().any(|(name, needed)| *name == setting && *needed == value))
}
