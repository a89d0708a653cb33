//! Cgroups made for a test.

use std::{
    fs,
    os::{
        fd::AsRawFd,
        unix::{fs::MetadataExt as _, process::CommandExt},
    },
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use chaos_daemon::target::Hierarchy;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{slow, suite::facts};

/// A cgroup of the v2 hierarchy; whatever runs in it is killed when it is dropped.
pub struct Cgroup {
    name: String,
    path: PathBuf,
}

impl Cgroup {
    /// Makes one under the root.
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::at(format!("/kct-{}-{n}-{name}", std::process::id()))
    }

    /// Makes one below this one.
    pub fn child(&self, name: &str) -> Self {
        Self::at(format!("{}/{name}", self.name))
    }

    fn at(name: String) -> Self {
        let path = Hierarchy::find().unwrap().mount().join(&name[1..]);
        fs::create_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { name, path }
    }

    /// Its path below the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes one below the root that has files of all controllers which faults hold values in.
    pub fn controlled(name: &str) -> Self {
        let root = Hierarchy::find().unwrap().mount().join("cgroup.subtree_control");
        if facts().guest {
            fs::write(&root, "+cpu +memory +io").unwrap();
        }
        Self::new(name)
    }

    /// What stands in one of its files.
    pub fn read(&self, file: &str) -> String {
        let path = self.path.join(file);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim_end().to_owned()
    }

    /// One of the numbers of a file with a name and a number on each line.
    pub fn number(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Writes one of its files, as its owner may.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Its processes.
    pub fn pids(&self) -> Vec<i32> {
        self.read("cgroup.procs").lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Its id, as the kernel's programs see it.
    pub fn id(&self) -> u64 {
        fs::metadata(&self.path).unwrap().ino()
    }

    /// Makes the process that `command` starts begin in it.
    pub fn place(&self, command: &mut Command) {
        let procs = fs::File::options().write(true).open(self.path.join("cgroup.procs")).unwrap();
        // SAFETY: only `write` on a descriptor that the closure owns.
        unsafe {
            command.pre_exec(move || match libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) {
                1 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..500 * slow() {
            self.kill_all();
            match fs::remove_dir(&self.path) {
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) => thread::sleep(Duration::from_millis(2)),
                _ => return,
            }
        }
    }
}

impl Cgroup {
    /// One by one, as kernels before 5.14 have no cgroup.kill.
    fn kill_all(&self) {
        let listed = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in listed.lines().filter_map(|line| line.parse().ok()) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
