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

use crate::slow;

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
