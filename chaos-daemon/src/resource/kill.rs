//! `kill`: processes of the target get a signal, as from the kernel when memory runs out, or from a careless operator.
//!
//! What must stay true: a signal goes to a process that was looked at, and to no other one that has got its number since;
//! and never to kchaos itself, whichever of its processes it is, nor to those that have started this one.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    sync::OnceLock,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{Folder, worker::Member};
use crate::{
    guard::protected::is_process_protected,
    target::{Processes, ancestors, cgroup_of_process, is_within},
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// What they get.
    pub signal: Signal,
    /// Whether all get it, or one of them.
    pub all: bool,
    /// How often; `None`: once, or once in each pulse.
    pub every: Option<Duration>,
}

/// A process of the target.
#[derive(Clone, Debug)]
pub struct Victim {
    pid: i32,
    member: Member,
    /// Whether it is left alone.
    pub protected: bool,
}

/// What is left alone.
pub struct Spared<'a> {
    /// Cgroups with something protected in them, by name.
    pub cgroups: &'a [String],
    /// Processes.
    pub pids: &'a BTreeSet<i32>,
    /// Whoever runs a protected program, also in a cgroup that nobody has looked at yet.
    pub programs: bool,
    /// Whoever runs our own program.
    pub kchaos: bool,
}

/// Those that started this process, and it.
pub fn our_line() -> BTreeSet<i32> {
    ancestors(std::process::id().cast_signed()).collect()
}

/// The processes of some cgroups now, by number, so that a draw among the same ones is the same.
pub fn victims(members: &[Member], spared: &Spared<'_>) -> Vec<Victim> {
    let mut found: Vec<Victim> = members.iter().flat_map(|member| of(member, spared)).collect();
    found.sort_by_key(|victim| victim.pid);
    found.dedup_by_key(|victim| victim.pid);
    found
}

fn of(member: &Member, spared: &Spared<'_>) -> Vec<Victim> {
    if Folder::open(&member.path, member.id).is_err() {
        return Vec::new();
    }
    let victim = |pid: i32| {
        // One handle at a time: there are processes by the thousand. One that cannot be had is not gone, and that is said
        // when it is to get its signal.
        let protected = match look(pid, member, spared) {
            Ok(None) => return None,
            Ok(Some((_handle, protected))) => protected,
            Err(_) => false,
        };
        Some(Victim { pid, member: member.clone(), protected })
    };
    Processes::below(&member.path).pids.into_iter().filter_map(victim).collect()
}

/// A handle of a process, and whether it is left alone. `None`: it is gone, from the cgroup or at all. All is asked behind
/// the handle: whoever has the number now is the one that it stands for.
fn look(pid: i32, member: &Member, spared: &Spared<'_>) -> io::Result<Option<(OwnedFd, bool)>> {
    let handle = match handle(pid) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        handle => handle?,
    };
    let Some(cgroup) = cgroup_of_process(pid).filter(|cgroup| is_within(cgroup, &member.name)) else {
        return Ok(None);
    };
    let protected = spared.pids.contains(&pid)
        || spared.cgroups.contains(&cgroup)
        || (spared.programs && is_process_protected(pid))
        || (spared.kchaos && is_kchaos(pid));
    Ok(Some((handle, protected)))
}

/// Whether a process runs the program that this one runs, or a newer one of its name: another experiment, somebody's
/// `kchaos halt`, a keeper.
fn is_kchaos(pid: i32) -> bool {
    static OURS: OnceLock<Option<(u64, u64)>> = OnceLock::new();
    let program =
        |of: &str| fs::metadata(format!("/proc/{of}/exe")).map(|file| (file.dev(), file.ino())).ok();
    let ours = OURS.get_or_init(|| program("self"));
    ours.is_some() && *ours == program(&pid.to_string())
        || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "kchaos")
}

/// Whether there is such a process in a cgroup.
pub fn has_kchaos(member: &Member) -> bool {
    Processes::below(&member.path).pids.into_iter().any(is_kchaos)
}

/// A descriptor that stands for a process (Linux 5.3).
fn handle(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(answer) {
        // SAFETY: the kernel has just made it for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Victim {
    /// Sends it a signal, after another look. False: it was gone.
    pub fn send(&self, spared: &Spared<'_>, signal: Signal) -> io::Result<bool> {
        let Some((handle, protected)) = look(self.pid, &self.member, spared)? else { return Ok(false) };
        if protected {
            return Err(io::Error::other("it is protected by now"));
        }
        let nothing = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: without more to say about the signal the kernel reads nothing.
        let answer = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, handle.as_raw_fd(), signal as libc::c_int, nothing, 0)
        };
        if answer == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            error => Err(error),
        }
    }
}

/// Which one of so many is drawn.
pub fn drawn(number: u32, of: usize) -> usize {
    let scaled = (u64::from(number) * of as u64) >> 32;
    usize::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_drawn_and_nobody_else() {
        assert_eq!([0, 0], [0, u32::MAX].map(|number| drawn(number, 1)));
        assert_eq!([0, 1, 2], [0, 1 << 31, u32::MAX].map(|number| drawn(number, 3)));
    }

    #[test]
    fn a_signal_goes_to_a_child_and_to_nobody_when_it_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id().cast_signed();
        let member = |name: String| Member { path: "/".into(), name, id: 0 };
        let elsewhere = Victim { pid, member: member("/none-such".to_owned()), protected: false };
        let spared = Spared { cgroups: &[], pids: &BTreeSet::new(), programs: true, kchaos: true };
        assert!(!elsewhere.send(&spared, Signal::SIGKILL).unwrap(), "it has gone from its cgroup");
        let victim = Victim { member: member(cgroup_of_process(pid).unwrap()), ..elsewhere };
        assert!(victim.send(&spared, Signal::SIGKILL).unwrap());
        child.wait().unwrap();
        assert!(!victim.send(&spared, Signal::SIGKILL).unwrap());
    }

    #[test]
    fn we_are_known_by_our_program() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = |id: u32| id.cast_signed();
        assert!(is_kchaos(pid(std::process::id())) && !is_kchaos(pid(child.id())));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn we_are_in_our_own_line() {
        assert!(our_line().contains(&std::process::id().cast_signed()));
    }
}
