//! Cgroups of the v2 hierarchy: found, identified, listed.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::TargetError;

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
            .map_err(|e| TargetError::io("reading /proc/self/mountinfo", std::io::Error::other(e)))?;
        let mount =
            mounts.into_iter().find(|m| m.fs_type == "cgroup2").ok_or(TargetError::NoHierarchy)?.mount_point;
        let inode = std::fs::metadata(&mount)
            .map_err(|e| TargetError::io(format!("looking at {}", mount.display()), e))?
            .ino();
        // The depth of a cgroup is counted from the real root; seen from a cgroup namespace it would be wrong.
        if inode == ROOT_INODE { Ok(Self { mount }) } else { Err(TargetError::NotTheRoot(mount)) }
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The cgroup `name`: a path below the root, or the full path of its directory.
    pub fn cgroup(&self, name: &str) -> Result<Cgroup, TargetError> {
        let relative = self.relative(name);
        let path = self.mount.join(&relative);
        let what = || format!("opening the cgroup {}", path.display());
        let dir = File::open(&path).map_err(|e| TargetError::io(what(), e))?;
        let meta = dir.metadata().map_err(|e| TargetError::io(what(), e))?;
        if !meta.is_dir() {
            return Err(TargetError::io(what(), std::io::Error::from(std::io::ErrorKind::NotADirectory)));
        }
        let level = u32::try_from(relative.components().count()).unwrap_or(u32::MAX);
        Ok(Cgroup { name: format!("/{}", relative.display()), id: meta.ino(), level, path, dir })
    }

    /// The longest part of the path `name` that exists.
    pub fn nearest(&self, name: &str) -> String {
        let relative = self.relative(name);
        let there = relative.ancestors().find(|p| self.mount.join(p).is_dir());
        format!("/{}", there.unwrap_or(Path::new("")).display())
    }

    /// The path below the mount, without dots: ".." must not lead out of the hierarchy.
    fn relative(&self, name: &str) -> PathBuf {
        let path = Path::new(name);
        let below = path.strip_prefix(&self.mount).unwrap_or(path);
        below.components().filter(|c| matches!(c, Component::Normal(_))).collect()
    }
}

impl Cgroup {
    /// The processes in it and below it, as far as this pid namespace sees them.
    pub fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        collect(&self.path, &mut found);
        found
    }
}

/// A cgroup that disappears while it is read simply has no processes any more.
fn collect(dir: &Path, found: &mut Vec<i32>) {
    let procs = std::fs::read_to_string(dir.join("cgroup.procs"))
        // A threaded cgroup lists its threads only.
        .or_else(|_| std::fs::read_to_string(dir.join("cgroup.threads")))
        .unwrap_or_default();
    // 0 stands for a process outside this pid namespace.
    found.extend(procs.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid > 0));
    let Ok(children) = std::fs::read_dir(dir) else { return };
    for child in children.flatten().filter(|c| c.file_type().is_ok_and(|t| t.is_dir())) {
        collect(&child.path(), found);
    }
}
