//! Network namespaces: which ones the target's processes live in, and doing something inside one.

use std::{
    collections::HashSet,
    fs::File,
    io,
    net::{Ipv4Addr, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::statfs::FsType,
};

use super::{Cgroup, TargetError, ancestors};
use crate::printable::printable;

/// The file system of namespaces (`linux/magic.h`).
const NSFS: FsType = FsType(0x6e73_6673);

/// `linux/nsfs.h`.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

const OWN: &str = "/proc/self/ns/net";
const OWN_THREAD: &str = "/proc/thread-self/ns/net";

/// Where `ip netns`, containerd, CRI-O and Docker keep namespaces by name.
const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

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
        // SAFETY: a request without an argument (`linux/nsfs.h`), answered with the kind of namespace.
        let kind = unsafe { libc::ioctl(handle.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != libc::CLONE_NEWNET {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let inode = handle.metadata()?.ino();
        Ok(Self { inode, ours: inode == ours, handle })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl NetNs {
    /// Whether a process is in it, or cannot be looked at. (Some sandboxes hide PID 1 from everyone.)
    pub fn may_have_process(&self, pid: i32) -> bool {
        let is_hidden = || pid != 1 && Path::new(&format!("/proc/{pid}")).exists();
        of_process(pid).map_or_else(is_hidden, |inode| inode == self.inode)
    }

    /// The number by which programs know it (`SO_NETNS_COOKIE`, Linux 5.14).
    pub fn cookie(&self) -> Result<u64, TargetError> {
        inside(self, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            let mut cookie = 0u64;
            let mut length = libc::socklen_t::try_from(size_of_val(&cookie)).unwrap_or(0);
            // SAFETY: both pointers are to live variables, and the length is the first one's.
            let failed = unsafe {
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    SO_NETNS_COOKIE,
                    (&raw mut cookie).cast(),
                    &raw mut length,
                )
            };
            if failed == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
        })?
        .map_err(|error| {
            if error.raw_os_error() == Some(libc::ENOPROTOOPT) {
                TargetError::NoCookie
            } else {
                TargetError::io(format!("asking network namespace {} for its cookie", self.inode), error)
            }
        })
    }
}

/// `asm-generic/socket.h`; the `libc` crate does not have it.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The network namespace that kchaos runs in.
pub fn own() -> Result<Arc<NetNs>, TargetError> {
    let wrong = |e| TargetError::io(format!("opening {OWN}"), e);
    let ours = std::fs::metadata(OWN).map_err(wrong)?.ino();
    Ok(Arc::new(NetNs::open(OWN, ours).map_err(wrong)?))
}

/// A new one that nobody is in. It is gone, with all that is in it, when this and its clones are, or we are.
pub fn private() -> io::Result<Arc<NetNs>> {
    let ours = std::fs::metadata(OWN)?.ino();
    let made = thread::scope(|scope| {
        let work = || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            NetNs::open(OWN_THREAD, ours)
        };
        scope.spawn(work).join()
    });
    made.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(Arc::new)
}

/// The network namespaces of processes.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that can be opened.
    pub namespaces: Vec<Arc<NetNs>>,
    /// Why there may be others.
    pub missing: Option<TargetError>,
}

/// The namespaces of all processes of the cgroups.
pub fn of_cgroups<'a>(cgroups: impl Iterator<Item = &'a Cgroup>) -> Result<Found, TargetError> {
    let ours = own()?.inode;
    let mut seen = HashSet::new();
    let mut found = Found::default();
    for cgroup in cgroups {
        let processes = cgroup.processes();
        if processes.hidden {
            found.missing = Some(TargetError::HiddenProcesses(printable(&cgroup.name)));
        }
        for pid in processes.pids {
            if of_process(pid).is_some_and(|inode| seen.contains(&inode)) {
                continue;
            }
            match NetNs::open(format!("/proc/{pid}/ns/net"), ours) {
                Ok(namespace) if seen.insert(namespace.inode) => found.namespaces.push(Arc::new(namespace)),
                Ok(_) => {}
                // A process that has ended in between is no one to hit.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
                // PID 1 is protected, and some sandboxes hide it from root, too.
                Err(e) if pid == 1 => tracing::debug!("the network namespace of PID 1: {e}"),
                Err(error) => found.missing = Some(TargetError::UnreadableNamespace { pid, error }),
            }
        }
    }
    Ok(found)
}

/// Inode of the namespace of a process, if we may see it.
pub fn of_process(pid: i32) -> Option<u64> {
    std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|namespace| namespace.ino())
}

/// Inode of the host's namespace: that of PID 1, or, where a sandbox hides PID 1, of the first of our ancestors that
/// can be looked at, who may be ourselves. As PID 1 we are alone in a container, and nobody is left to tell.
pub(super) fn of_host() -> Option<u64> {
    let us = std::process::id().cast_signed();
    if us == 1 {
        return None;
    }
    of_process(1).or_else(|| ancestors::of(us).filter_map(of_process).last())
}

/// The namespace of that name, or at that path, if it is there.
pub(super) fn named(name: &str) -> Result<Option<Arc<NetNs>>, TargetError> {
    let ours = own()?.inode;
    let absent = |e: &io::Error| {
        matches!(
            e.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
        )
    };
    // A name is one file name; whatever else would leave the directories.
    let paths = if name.starts_with('/') {
        vec![PathBuf::from(name)]
    } else if name.contains('/') || name == ".." {
        Vec::new()
    } else {
        NAMED.iter().map(|dir| Path::new(dir).join(name)).collect()
    };
    for path in paths {
        match NetNs::open(&path, ours) {
            Ok(namespace) => return Ok(Some(Arc::new(namespace))),
            Err(e) if absent(&e) => {}
            Err(e) => return Err(TargetError::io(format!("opening {}", path.display()), e)),
        }
    }
    Ok(None)
}

/// Every network namespace on the host that can be found: those of processes, and those that `ip netns`, containerd,
/// CRI-O and Docker keep by name. What cannot be opened is left out.
pub fn all() -> Vec<NetNs> {
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

/// Runs `work` inside `namespace`, on a thread of its own that ends with it: a thread that has changed its namespace
/// must never serve anything else.
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
