//! The cgroup namespace, which only changes what /proc shows: from within one of a container the cgroups of other processes
//! are paths that begin at the container's own.
//!
//! What must stay true: nobody is taken for unprotected because his cgroup cannot be told. So what has a namespace of its
//! own and sees the host's processes leaves it, or finds no hierarchy.

use std::{fs::File, os::unix::fs::MetadataExt, path::PathBuf};

use nix::sched::{CloneFlags, setns};

use super::ancestors;

/// Goes to the host's, if it is another one and can be told. For the calling thread and those that it starts, so before
/// there are others.
pub fn leave() {
    let Some(host) = other_than_ours() else { return };
    // Without the right to, `Hierarchy::find` says what is wrong, to those who need it.
    let _forbidden = File::open(host).map(|host| setns(host, CloneFlags::CLONE_NEWCGROUP));
}

/// That of the host, if ours is another one.
pub(super) fn other_than_ours() -> Option<PathBuf> {
    let path = |pid: i32| PathBuf::from(format!("/proc/{pid}/ns/cgroup"));
    let inode = |path: &PathBuf| std::fs::metadata(path).ok().map(|namespace| namespace.ino());
    let us = std::process::id().cast_signed();
    let ours = inode(&PathBuf::from("/proc/thread-self/ns/cgroup"))?;
    // PID 1, or, where a sandbox hides it, the first of our ancestors that can be looked at.
    let seen = |path: PathBuf| inode(&path).map(|inode| (path, inode));
    let (host, inode) =
        seen(path(1)).or_else(|| ancestors::of(us).filter_map(|pid| seen(path(pid))).last())?;
    (inode != ours).then_some(host)
}
