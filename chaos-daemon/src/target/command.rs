//! A command as the target: started in a cgroup of its own, ended with the experiment.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use tokio::{process::Child, time};

use super::{
    Cgroup, Hierarchy, TargetError,
    cgroup::{Processes, children},
};
use crate::guard::files;

/// Prefix of the cgroups that we make.
const PREFIX: &str = "kchaos-";

/// How long a command may take to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cgroup that we made; removed when dropped, with everything that still runs in it.
///
/// Its directory is locked as long as its owner lives. That tells a leftover from one in use, also to a kchaos in
/// another pid namespace, where pids say nothing.
#[derive(Debug)]
pub struct OwnCgroup {
    hierarchy: Hierarchy,
    name: String,
    path: PathBuf,
    _lock: Flock<File>,
}

impl OwnCgroup {
    /// Makes a cgroup under the root of the hierarchy.
    pub fn create(hierarchy: &Hierarchy) -> Result<Self, TargetError> {
        Self::create_for(hierarchy, "target")
    }

    /// Makes a cgroup called `kchaos-PID-NUMBER-purpose`.
    pub fn create_for(hierarchy: &Hierarchy, purpose: &str) -> Result<Self, TargetError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}-{purpose}", std::process::id());
            let path = hierarchy.mount().join(&name);
            match std::fs::create_dir(&path) {
                Ok(()) => {}
                // Of an owner with the same pid in another pid namespace.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < 1000 => continue,
                Err(e) => return Err(TargetError::io(format!("making the cgroup {}", path.display()), e)),
            }
            // Somebody's clean-up may have come in between; then there is another number.
            if let Some(lock) =
                lock(&path).map_err(|e| TargetError::io(format!("locking {}", path.display()), e))?
            {
                return Ok(Self {
                    hierarchy: hierarchy.clone(),
                    name: format!("/{name}"),
                    path,
                    _lock: lock,
                });
            }
        }
    }

    /// The cgroup.
    pub fn cgroup(&self) -> Result<Cgroup, TargetError> {
        self.hierarchy.cgroup(&self.name)
    }

    /// Starts `words` in the cgroup as the target of an experiment. Its standard output goes to our standard error:
    /// ours is for results.
    pub fn start(&self, words: &[String]) -> Result<Command, TargetError> {
        Ok(Command { child: self.spawn(words, io::stderr())? })
    }

    /// Starts `words` in the cgroup, from the first instruction on. It gets SIGKILL if the calling thread dies.
    pub fn spawn(&self, words: &[String], stdout: impl Into<Stdio>) -> Result<Child, TargetError> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| TargetError::io("starting the command", io::ErrorKind::InvalidInput))?;
        let procs = self.path.join("cgroup.procs");
        let procs = File::options()
            .write(true)
            .open(&procs)
            .map_err(|e| TargetError::io(format!("opening {}", procs.display()), e))?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).kill_on_drop(true);
        let fd = procs.as_raw_fd();
        let given = files::given();
        // SAFETY: between fork and exec, only async-signal-safe calls: prctl, prlimit, and write on a descriptor that
        // stays open until `spawn` has returned.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                if libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                    return Err(io::Error::last_os_error());
                }
                files::give_back(given)
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
        if !remove(&self.path) {
            tracing::warn!("the cgroup {} is still in use and was not removed", self.path.display());
        }
    }
}

/// `None` if its owner lives, or it is gone.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let Ok(directory) = File::open(path) else { return Ok(None) };
    match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock).filter(|_| path.exists())),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Ends everything that runs in a cgroup of ours and below it, and removes it. Answers whether it is gone.
fn remove(path: &Path) -> bool {
    // A killed process leaves its cgroup a moment later.
    for _ in 0..200 {
        kill_all(path);
        match remove_empty(path) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(Duration::from_millis(5)),
            _ => break,
        }
    }
    !path.exists()
}

/// Kills every process in a cgroup and below it. One file does that from Linux 5.14 on; before, they are frozen first,
/// so that none can start another while they are killed one by one.
fn kill_all(path: &Path) {
    if std::fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // What is gone needs no freezing, and a frozen process can still be killed.
    let _gone = std::fs::write(path.join("cgroup.freeze"), "1");
    for pid in Processes::below(path).pids {
        let _gone =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    let _gone = std::fs::write(path.join("cgroup.freeze"), "0");
}

/// Removes empty cgroups from the deepest up.
fn remove_empty(path: &Path) -> io::Result<()> {
    for child in children(path) {
        remove_empty(&child)?;
    }
    std::fs::remove_dir(path)
}

/// The command that runs as the target.
#[derive(Debug)]
pub struct Command {
    child: Child,
}

impl Command {
    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end (SIGTERM), waits, and ends it (SIGKILL) if it does not.
    pub async fn stop(&mut self) -> io::Result<ExitStatus> {
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

/// What [`remove_leftovers`] did.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Cgroups that are gone.
    pub removed: Vec<PathBuf>,
    /// Cgroups that something still runs in.
    pub stuck: Vec<PathBuf>,
}

/// Removes the cgroups of owners that have died, and ends what still runs in them: commands that were started as the
/// target of an experiment, and whatever those have started. A killed owner cannot do it itself.
pub fn remove_leftovers(hierarchy: &Hierarchy) -> Leftovers {
    let ours = |path: &PathBuf| path.file_name().is_some_and(|n| is_ours(&n.to_string_lossy()));
    let mut found = Leftovers::default();
    for path in children(hierarchy.mount()).into_iter().filter(ours) {
        let Ok(Some(_lock)) = lock(&path) else { continue };
        if remove(&path) { found.removed.push(path) } else { found.stuck.push(path) }
    }
    found
}

/// Whether a cgroup has a name as we give them.
fn is_ours(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let mut parts = rest.split('-');
    let mut number = || parts.next().is_some_and(|p| p.parse::<u32>().is_ok());
    number() && number()
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn knows_its_own_cgroups_only() {
        assert!(is_ours("kchaos-12-0-target"));
        assert!(is_ours("kchaos-12-3-cgroup_connect"));
        for other in [
            "kchaos",
            "kchaos-",
            "kchaos-12",
            "kchaos-x-0",
            "kchaos-daemon",
            "system.slice",
            "my-kchaos-12-0",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
