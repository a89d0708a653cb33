//! Cgroups of the v2 hierarchy: found, identified, listed.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::{TargetError, cgroup_namespace};
use crate::printable::printable;

/// The mounted v2 hierarchy.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    mount: PathBuf,
}

/// One cgroup.
#[derive(Debug)]
pub struct Cgroup {
    /// Its path below the root: "/system.slice/redis.service".
    pub name: String,
    /// Its id, as the kernel's helpers report it: the inode number of its directory.
    pub id: u64,
    /// Its depth; the root is 0.
    pub level: u32,
    /// Its directory.
    pub path: PathBuf,
    /// The directory, held open: the id stays this cgroup's as long as we look at it.
    pub dir: File,
}

/// Inode number of the root of the hierarchy (kernfs numbers it first).
const ROOT_INODE: u64 = 1;

impl Hierarchy {
    /// Finds where cgroup v2 is mounted: not always /sys/fs/cgroup, where v1 is mounted too it stands beside it.
    pub fn find() -> Result<Self, TargetError> {
        let mounts = procfs::process::Process::myself()
            .and_then(|me| me.mountinfo())
            .map_err(|e| TargetError::io("reading /proc/self/mountinfo", io::Error::other(e)))?;
        let mount =
            mounts.into_iter().find(|m| m.fs_type == "cgroup2").ok_or(TargetError::NoHierarchy)?.mount_point;
        let inode = std::fs::metadata(&mount)
            .map_err(|e| TargetError::io(format!("looking at {}", mount.display()), e))?
            .ino();
        // The depth of a cgroup is counted from the real root; seen from a cgroup namespace it would be wrong. So would be
        // the cgroups of processes, even where the whole hierarchy is mounted.
        let is_whole = inode == ROOT_INODE && cgroup_namespace::other_than_ours().is_none();
        if is_whole { Ok(Self { mount }) } else { Err(TargetError::NotTheRoot(mount)) }
    }

    /// One that is mounted somewhere else, or a directory like one.
    #[cfg(test)]
    pub(super) fn at(mount: &Path) -> Self {
        Self { mount: mount.into() }
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The cgroup `name`: a path below the root, or the full path of its directory.
    pub fn cgroup(&self, name: &str) -> Result<Cgroup, TargetError> {
        let what = || format!("opening the cgroup {}", printable(name));
        // Never followed: "/a/../b" is "/b" to some and "/a/b" to others.
        if Path::new(name).components().any(|c| c == Component::ParentDir) {
            return Err(TargetError::io(what(), io::Error::from(io::ErrorKind::NotFound)));
        }
        let relative = self.relative(name);
        let path = self.mount.join(&relative);
        let dir = File::open(&path).map_err(|e| TargetError::io(what(), e))?;
        let meta = dir.metadata().map_err(|e| TargetError::io(what(), e))?;
        if !meta.is_dir() {
            return Err(TargetError::io(what(), io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let level = u32::try_from(relative.components().count()).unwrap_or(u32::MAX);
        Ok(Cgroup { name: format!("/{}", relative.display()), id: meta.ino(), level, path, dir })
    }

    /// The full path of a cgroup, or of a pattern of cgroups.
    pub fn below(&self, name: &str) -> PathBuf {
        self.mount.join(self.relative(name))
    }

    /// The longest part of the path `name` that exists.
    pub fn nearest(&self, name: &str) -> String {
        let relative = self.relative(name);
        let there = relative.ancestors().find(|p| self.mount.join(p).is_dir());
        format!("/{}", there.unwrap_or(Path::new("")).display())
    }

    /// The path below the mount, without dots.
    pub(super) fn relative(&self, name: &str) -> PathBuf {
        let path = Path::new(name);
        let below = path.strip_prefix(&self.mount).unwrap_or(path);
        below.components().filter(|c| matches!(c, Component::Normal(_))).collect()
    }
}

/// The processes of a cgroup.
#[derive(Debug, Default)]
pub struct Processes {
    /// Those that this pid namespace sees.
    pub pids: Vec<i32>,
    /// Whether there are others.
    pub hidden: bool,
}

impl Processes {
    /// Those in the cgroup whose directory this is, and below it.
    pub fn below(dir: &Path) -> Self {
        let mut found = Self::default();
        collect(dir, &mut found);
        found
    }
}

impl Cgroup {
    /// The processes in it and below it.
    pub fn processes(&self) -> Processes {
        Processes::below(&self.path)
    }

    /// Whether its directory is still the same: a service that is restarted gets a new cgroup under the old name.
    pub fn is_there(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|now| now.ino() == self.id)
    }
}

/// A cgroup that disappears while it is read simply has no processes any more.
fn collect(dir: &Path, found: &mut Processes) {
    let procs = std::fs::read_to_string(dir.join("cgroup.procs"))
        // A threaded cgroup lists its threads only.
        .or_else(|_| std::fs::read_to_string(dir.join("cgroup.threads")))
        .unwrap_or_default();
    for pid in procs.lines().filter_map(|l| l.parse::<i32>().ok()) {
        // 0 stands for a process outside this pid namespace.
        if pid == 0 {
            found.hidden = true;
        } else {
            found.pids.push(pid);
        }
    }
    for child in children(dir) {
        collect(&child, found);
    }
}

/// The v2 cgroup of a process, by its path below the root; `None` if the process is gone, or has none.
pub fn of_process(pid: i32) -> Option<String> {
    named_in(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?).map(ToOwned::to_owned)
}

/// A line for each hierarchy, `id:controllers:path`; that of v2 has the id 0 and no controllers (cgroups(7)).
fn named_in(lines: &str) -> Option<&str> {
    lines.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Whether a cgroup is another one, or below it; both by their paths below the root.
pub fn is_within(name: &str, other: &str) -> bool {
    let rest = name.strip_prefix(other.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The cgroups right below a cgroup.
pub(super) fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter(|c| c.file_type().is_ok_and(|t| t.is_dir())).map(|c| c.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::{is_within, named_in, of_process};

    #[test]
    fn a_cgroup_is_within_itself_and_those_above() {
        for (name, other) in [("/a/b", "/a/b"), ("/a/b", "/a"), ("/a", "/"), ("/", "/")] {
            assert!(is_within(name, other), "{name} {other}");
        }
        for (name, other) in [("/a", "/a/b"), ("/ab", "/a"), ("/", "/a"), ("/b/a", "/a")] {
            assert!(!is_within(name, other), "{name} {other}");
        }
    }

    #[test]
    fn the_cgroup_of_a_process_is_that_of_the_v2_hierarchy() {
        for (lines, expected) in [
            ("0::/system.slice/checkout.service\n", Some("/system.slice/checkout.service")),
            ("0::/\n", Some("/")),
            // Both versions side by side, and a name that looks like the start of a line.
            ("12:net_cls:/a\n1:name=systemd:/b\n0::/c::/d\n", Some("/c::/d")),
            ("10::/wrong\n2:cpu,cpuacct:/0::/wrong\n", None),
            ("", None),
        ] {
            assert_eq!(expected, named_in(lines), "{lines}");
        }
    }

    #[test]
    fn a_process_that_is_gone_has_none() {
        assert_eq!(None, of_process(i32::MAX));
    }
}
