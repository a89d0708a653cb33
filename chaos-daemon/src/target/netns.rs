//! Network namespaces: which ones the target's processes live in, and doing something inside one.

use std::{
    collections::HashSet,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::FsType,
};

use super::{Cgroup, TargetError};

/// The file system of namespaces (`linux/magic.h`).
const NSFS: FsType = FsType(0x6e73_6673);

const OWN: &str = "/proc/self/ns/net";

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
    fn open(path: impl AsRef<Path>, ours: u64) -> io::Result<Self> {
        let handle = File::open(path)?;
        // Where `ip netns` keeps its names, a name may be an ordinary file without its mount.
        if nix::sys::statfs::fstatfs(&handle)?.filesystem_type() != NSFS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let inode = handle.metadata()?.ino();
        Ok(Self { inode, ours: inode == ours, handle })
    }
}

/// The namespaces of all processes of the cgroup. An empty cgroup gets the one kchaos runs in: that is where its first
/// process will be unless someone arranges otherwise. A process that is there and cannot be looked at is an error: its
/// packets would be missed in silence.
pub fn of_cgroup(cgroup: &Cgroup) -> Result<Vec<Arc<NetNs>>, TargetError> {
    let own = |e| TargetError::io(format!("opening {OWN}"), e);
    let ours = std::fs::metadata(OWN).map_err(own)?.ino();
    let processes = cgroup.processes();
    if processes.hidden {
        return Err(TargetError::HiddenProcesses(cgroup.name.clone()));
    }
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for pid in processes.pids {
        match NetNs::open(format!("/proc/{pid}/ns/net"), ours) {
            Ok(namespace) if seen.insert(namespace.inode) => found.push(Arc::new(namespace)),
            Ok(_) => {}
            // A process that has ended in between is no one to hit.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            // PID 1 is protected, and some sandboxes hide it from root, too.
            Err(e) if pid == 1 => tracing::debug!("the network namespace of PID 1: {e}"),
            Err(error) => return Err(TargetError::UnreadableNamespace { pid, error }),
        }
    }
    if found.is_empty() {
        found.push(Arc::new(NetNs::open(OWN, ours).map_err(own)?));
    }
    Ok(found)
}

/// Every network namespace on the host that can be found: those of processes, and those that `ip netns`, containerd, CRI-O
/// and Docker keep by name. What cannot be opened is left out.
pub fn all() -> Vec<NetNs> {
    const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];
    let entries = |dir: &str| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let is_pid = |path: &PathBuf| {
        path.file_name().is_some_and(|n| n.to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
    };
    let processes = entries("/proc").filter(is_pid).map(|process| process.join("ns/net"));
    let ours = std::fs::metadata(OWN).map_or(0, |own| own.ino());
    let mut seen = HashSet::new();
    std::iter::once(PathBuf::from(OWN))
        .chain(processes)
        .chain(NAMED.into_iter().flat_map(entries))
        .filter_map(|path| NetNs::open(path, ours).ok())
        .filter(|namespace| seen.insert(namespace.inode))
        .collect()
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
