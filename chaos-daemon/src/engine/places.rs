//! Where the paths that rules name are: inodes, as the target sees them.
//!
//! A process in a container sees another file system than kchaos does. So a path is looked up in the root of every
//! mount namespace that the target's processes are in, without leaving it by links. The programs know files by the
//! address of their inode, which does not change while its descriptor is held here; a path that leads elsewhere after a
//! while is looked up again.
//!
//! A directory stands for all below it, on the same file system. What is mounted below it has a root of its own, which
//! is looked up with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};

use super::{error::StartError, facts::Facts, follow::What};
use crate::{
    bpf::{BpfError, Object},
    config::{ConfigError, Experiment, Problem, value::FilePath},
};

/// How often it is asked whether paths lead elsewhere.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Mount namespaces that are looked at.
const MOST_ROOTS: usize = 64;

/// Device and number of an inode.
type Id = (u64, u64);

/// Inodes that are held, so that their addresses stay theirs.
#[derive(Debug, Default)]
pub struct Places {
    held: BTreeMap<Id, Held>,
    looked: Option<Instant>,
    /// Why a path could not be followed, the last time.
    trouble: Option<String>,
}

/// An inode.
#[derive(Debug)]
struct Held {
    inode: OwnedFd,
    /// What it stands for.
    facts: u64,
    /// As the programs know it.
    told: u64,
}

/// A path that leads nowhere.
#[derive(Debug)]
pub struct Nowhere {
    /// Which.
    pub path: FilePath,
    /// Why.
    pub error: io::Error,
}

impl Nowhere {
    /// The mistake at its place in the file.
    pub fn in_file(self, experiment: &Experiment) -> Box<ConfigError> {
        let Self { path, error } = self;
        let asked =
            experiment.faults.iter().filter_map(|fault| fault.fault.asks()).flat_map(|asks| &asks.paths);
        let place = asked.clone().find(|other| *other.get_ref() == path).map_or(0..0, toml::Spanned::span);
        let message = format!("{}: {error}", path.0.display());
        let problem = Problem::at(place, message, "as the target sees it").help(
            "the path must be there when the experiment starts, in the file system of the target (a container has one of \
             its own); name the directory if the file is yet to be made; there are no patterns, a * stands for itself",
        );
        experiment.mistake(problem)
    }
}

impl Places {
    /// Finds all of them for the target's processes; none may be missing.
    pub fn of(
        experiment: &Experiment,
        object: &mut Object,
        facts: &Facts,
        processes: &[i32],
    ) -> Result<Self, StartError> {
        let mut places = Self::default();
        match places.find(object, facts, processes)? {
            Some(nowhere) => Err(nowhere.in_file(experiment).into()),
            None => Ok(places),
        }
    }

    /// Looks all paths up for the target's processes, and tells the programs. Answers with the first that leads nowhere,
    /// in any root.
    pub fn find(
        &mut self,
        object: &mut Object,
        facts: &Facts,
        processes: &[i32],
    ) -> Result<Option<Nowhere>, BpfError> {
        self.looked = Some(Instant::now());
        if facts.paths.is_empty() {
            return Ok(None);
        }
        let (found, nowhere) = look_up(&facts.paths, processes);
        self.tell(object, found)?;
        Ok(nowhere)
    }

    /// Looks again, if it is time. Answers with what is to be said of it, once.
    pub fn follow(
        &mut self,
        object: &mut Object,
        facts: &Facts,
        processes: impl FnOnce() -> Vec<i32>,
    ) -> Option<What> {
        if facts.paths.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return None;
        }
        let trouble = match self.find(object, facts, &processes()) {
            Ok(None) => None,
            Ok(Some(Nowhere { path, error })) => Some(format!("{}: {error}", path.0.display())),
            Err(error) => Some(error.to_string()),
        };
        if trouble == self.trouble {
            return None;
        }
        self.trouble.clone_from(&trouble);
        trouble.map(|error| What::Unfollowed { error })
    }

    /// New ones are made known; old ones stay, as files that are open may still be theirs, and so does what they stood
    /// for. All are held before their addresses are told: an address that nobody holds may become another file's.
    fn tell(&mut self, object: &mut Object, found: BTreeMap<Id, (OwnedFd, u64)>) -> Result<(), BpfError> {
        for (id, (inode, facts)) in found {
            self.held.entry(id).or_insert(Held { inode, facts, told: 0 }).facts |= facts;
        }
        let untold = self.held.values_mut().filter(|held| held.facts != held.told);
        object.make_known(untold.map(|Held { inode, facts, told }| (&*inode, *facts, told)))
    }
}

/// Whether all paths lead somewhere for the target's processes, before anything is done. Who may not look at these (a
/// dry run without rights) is not told.
pub fn check(experiment: &Experiment, processes: &[i32]) -> Result<(), Box<ConfigError>> {
    let asks = experiment.faults.iter().filter_map(|fault| fault.fault.asks());
    let paths = asks.flat_map(|asks| &asks.paths).map(|path| (path.get_ref().clone(), 0)).collect();
    match look_up(&paths, processes) {
        (_, Some(nowhere)) if nowhere.error.kind() != io::ErrorKind::PermissionDenied => {
            Err(nowhere.in_file(experiment))
        }
        _ => Ok(()),
    }
}

/// What paths lead to, with what they stand for, and the first that leads nowhere in any root.
fn look_up(
    paths: &BTreeMap<FilePath, u64>,
    processes: &[i32],
) -> (BTreeMap<Id, (OwnedFd, u64)>, Option<Nowhere>) {
    let (mut found, mut nowhere) = (BTreeMap::<Id, (OwnedFd, u64)>::new(), None);
    if paths.is_empty() {
        return (found, nowhere);
    }
    let (roots, hidden) = roots(processes);
    for (path, facts) in paths {
        let mut last = None;
        let mut there = false;
        for root in &roots {
            match inodes(root, &path.0) {
                Ok(inodes) => {
                    there = true;
                    for (id, inode) in inodes {
                        found.entry(id).or_insert((inode, 0)).1 |= facts;
                    }
                }
                Err(error) => last = Some(error),
            }
        }
        if let Some(error) = hidden.as_ref().map(copy_of).or(last.filter(|_| !there)) {
            nowhere = nowhere.or(Some(Nowhere { path: path.clone(), error }));
        }
    }
    (found, nowhere)
}

/// The roots of the processes' mount namespaces, each once; our own if there are none. And why one could not be looked
/// at that is there.
fn roots(processes: &[i32]) -> (Vec<PathBuf>, Option<io::Error>) {
    let mut seen = BTreeSet::new();
    let (mut roots, mut hidden) = (Vec::new(), None);
    for pid in processes {
        let of = PathBuf::from(format!("/proc/{pid}"));
        let known = || {
            let root = fs::metadata(of.join("root"))?;
            io::Result::Ok((fs::read_link(of.join("ns/mnt"))?, root.dev(), root.ino()))
        };
        match known() {
            Ok(known) if seen.insert(known.clone()) => roots.push(of),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => hidden = Some(error),
            // It is known already, or has ended.
            Ok(_) | Err(_) => {}
        }
        if roots.len() >= MOST_ROOTS {
            break;
        }
    }
    if roots.is_empty() && hidden.is_none() {
        roots.push(PathBuf::from("/proc/self"));
    }
    (roots, hidden)
}

fn copy_of(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

type Inode = (Id, OwnedFd);

/// What `path` leads to in the root of a process, and the roots of all mounts below it.
fn inodes(process: &Path, path: &Path) -> io::Result<Vec<Inode>> {
    let root = File::options().read(true).open(process.join("root"))?;
    let first = inode(&root, path)?;
    let mut found = vec![first];
    let mounts = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
    for line in mounts.lines() {
        let Some(place) = line.split(' ').nth(4) else { continue };
        let place = PathBuf::from(unescaped(place));
        if place != path && place.starts_with(path) {
            // One that cannot be reached is hidden by another.
            found.extend(inode(&root, &place));
        }
    }
    Ok(found)
}

fn inode(root: &File, path: &Path) -> io::Result<Inode> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let inode = openat2(root, relative, how)?;
    let seen = nix::sys::stat::fstat(&inode)?;
    Ok(((seen.st_dev, seen.st_ino), inode))
}

/// Blanks and the like are written as `\040` in lists of mounts.
fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}
