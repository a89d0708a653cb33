//! A command as the target: started in a cgroup of its own, ended with the experiment.

use std::{
    fs::File,
    io::Write,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{process::Child, time};

use super::{Cgroup, Hierarchy, TargetError};

/// Prefix of the cgroups that we make; what follows is the pid of their owner.
const PREFIX: &str = "kchaos-";

/// How long a command may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cgroup that we made; removed when dropped, with everything that still runs in it.
#[derive(Debug)]
pub struct OwnCgroup {
    hierarchy: Hierarchy,
    name: String,
    path: PathBuf,
}

impl OwnCgroup {
    /// Makes a cgroup under the root of the hierarchy.
    pub fn create(hierarchy: &Hierarchy) -> Result<Self, TargetError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self::create_for(hierarchy, &NUMBER.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Makes a cgroup called `kchaos-PID-suffix`.
    pub fn create_for(hierarchy: &Hierarchy, suffix: &str) -> Result<Self, TargetError> {
        Self::named(hierarchy, &format!("{PREFIX}{}-{suffix}", std::process::id()))
    }

    fn named(hierarchy: &Hierarchy, name: &str) -> Result<Self, TargetError> {
        let path = hierarchy.mount().join(name);
        std::fs::create_dir(&path)
            .map_err(|e| TargetError::io(format!("making the cgroup {}", path.display()), e))?;
        Ok(Self { hierarchy: hierarchy.clone(), name: format!("/{name}"), path })
    }

    /// The cgroup.
    pub fn cgroup(&self) -> Result<Cgroup, TargetError> {
        self.hierarchy.cgroup(&self.name)
    }

    /// Starts `words` in the cgroup as the target of an experiment. Its standard output goes to our standard error: ours
    /// is for results.
    pub fn start(&self, words: &[String]) -> Result<Command, TargetError> {
        Ok(Command { child: self.spawn(words, std::io::stderr())? })
    }

    /// Starts `words` in the cgroup, from the first instruction on. It gets SIGKILL if the calling thread dies.
    pub fn spawn(&self, words: &[String], stdout: impl Into<Stdio>) -> Result<Child, TargetError> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| TargetError::io("starting the command", std::io::ErrorKind::InvalidInput))?;
        let procs = self.path.join("cgroup.procs");
        let procs = File::options()
            .write(true)
            .open(&procs)
            .map_err(|e| TargetError::io(format!("opening {}", procs.display()), e))?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).kill_on_drop(true);
        let fd = procs.as_raw_fd();
        // SAFETY: between fork and exec, only async-signal-safe calls: prctl and write on a descriptor that stays open
        // until `spawn` has returned.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                if libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child =
            command.spawn().map_err(|error| TargetError::Command { program: program.clone(), error })?;
        drop(procs);
        Ok(child)
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        // Linux 5.14 and later; before, the SIGKILL of the command itself must do.
        if let Ok(mut kill) = File::options().write(true).open(self.path.join("cgroup.kill")) {
            let _ignored_if_empty = kill.write_all(b"1");
        }
        // A killed process leaves its cgroup a moment later.
        for _ in 0..200 {
            match std::fs::remove_dir(&self.path) {
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => return,
            }
        }
        tracing::warn!("the cgroup {} is still in use and was not removed", self.path.display());
    }
}

/// The command that runs as the target.
#[derive(Debug)]
pub struct Command {
    child: Child,
}

impl Command {
    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end (SIGTERM), waits, and ends it (SIGKILL) if it does not.
    pub async fn stop(&mut self) -> std::io::Result<ExitStatus> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _already_gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            if let Ok(status) = time::timeout(PATIENCE, self.child.wait()).await {
                return status;
            }
            self.child.start_kill()?;
        }
        self.child.wait().await
    }
}

/// An exit status in words: "exit code 1", "signal 9".
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// Removes the empty cgroups of owners that have died. A killed owner cannot remove its own; nothing runs in them.
pub fn remove_leftovers(hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(hierarchy.mount()) else { return Vec::new() };
    entries
        .flatten()
        .filter(|e| {
            owner(&e.file_name().to_string_lossy())
                .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
        })
        .map(|e| e.path())
        // Only succeeds where no process and no cgroup is left inside.
        .filter(|path| std::fs::remove_dir(path).is_ok())
        .collect()
}

/// The pid in the name of a cgroup that we made.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn knows_its_own_cgroups_only() {
        assert_eq!(Some(12), owner("kchaos-12"));
        assert_eq!(Some(12), owner("kchaos-12-client"));
        for other in ["kchaos", "kchaos-", "kchaos-x", "system.slice", "my-kchaos-12"] {
            assert_eq!(None, owner(other));
        }
    }
}
