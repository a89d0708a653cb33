//! Network namespaces: which ones the target's processes live in, and doing something inside one.

use std::{collections::HashSet, fs::File, os::unix::fs::MetadataExt, thread};

use nix::sched::{CloneFlags, setns};

use super::{Cgroup, TargetError};

/// A network namespace, kept alive by an open handle.
#[derive(Debug)]
pub struct NetNs {
    /// Its inode number, as in `ls -l /proc/PID/ns/net`.
    pub inode: u64,
    /// Whether it is the one kchaos itself runs in.
    pub ours: bool,
    handle: File,
}

impl NetNs {
    fn open(path: &str, ours: u64) -> std::io::Result<Self> {
        let handle = File::open(path)?;
        let inode = handle.metadata()?.ino();
        Ok(Self { inode, ours: inode == ours, handle })
    }
}

/// The namespaces of all processes of the cgroup. A cgroup without processes gets the one kchaos runs in: that is where
/// its first process will be unless someone arranges otherwise.
pub fn of_cgroup(cgroup: &Cgroup) -> Result<Vec<NetNs>, TargetError> {
    let own = || TargetError::io("opening /proc/self/ns/net", std::io::Error::last_os_error());
    let ours = std::fs::metadata("/proc/self/ns/net").map_err(|_| own())?.ino();
    let mut seen = HashSet::new();
    let mut found: Vec<NetNs> = cgroup
        .processes()
        .into_iter()
        // A process that has ended in between is no one to hit.
        .filter_map(|pid| NetNs::open(&format!("/proc/{pid}/ns/net"), ours).ok())
        .filter(|ns| seen.insert(ns.inode))
        .collect();
    if found.is_empty() {
        found.push(NetNs::open("/proc/self/ns/net", ours).map_err(|_| own())?);
    }
    Ok(found)
}

/// Runs `work` inside `namespace`, on a thread of its own that ends with it: a thread that has changed its namespace must
/// never serve anything else.
pub fn inside<T: Send>(namespace: &NetNs, work: impl FnOnce() -> T + Send) -> Result<T, TargetError> {
    if namespace.ours {
        return Ok(work());
    }
    let joined = thread::scope(|scope| {
        scope
            .spawn(|| {
                setns(&namespace.handle, CloneFlags::CLONE_NEWNET).map_err(|e| {
                    TargetError::io(
                        format!("entering network namespace {} (needs CAP_SYS_ADMIN)", namespace.inode),
                        e,
                    )
                })?;
                Ok(work())
            })
            .join()
    });
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
