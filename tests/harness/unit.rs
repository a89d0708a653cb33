//! The rights that configs/systemd/kchaos.service gives, and processes that have no others.

use std::{collections::BTreeSet, ffi::CString, io, os::unix::process::CommandExt as _, process::Command};

use caps::Capability;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::Cgroup;

/// The unit, as it is installed.
pub const UNIT: &str = include_str!("../../configs/systemd/kchaos.service");

/// What stands behind `KEY=`, in all its lines.
pub fn setting(key: &str) -> Vec<&'static str> {
    UNIT.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .flat_map(str::split_whitespace)
        .collect()
}

/// The capabilities that the daemon has.
pub fn capabilities() -> BTreeSet<String> {
    setting("CapabilityBoundingSet").into_iter().map(ToOwned::to_owned).collect()
}

/// Makes the process that `command` starts have these capabilities of the unit and no other, and never get one. (Root has
/// all that the bounding set leaves.)
pub fn confine(command: &mut Command, but: Option<&str>) {
    let kept = capabilities().into_iter().filter(|name| Some(name.as_str()) != but);
    let kept: Vec<u8> = kept.map(|name| name.parse::<Capability>().unwrap().index()).collect();
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            for capability in (0..=63).filter(|capability| !kept.contains(capability)) {
                // Beyond the last one of this kernel it fails.
                libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0);
            }
            match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Makes the process that `command` starts see the host as a pod with `hostPID` does, in a cgroup of its own: that is the
/// root of its cgroup namespace, and /proc/sys is read-only. Not in guests without mount namespaces.
pub fn place_in_pod(command: &mut Command, cgroup: &Cgroup) {
    cgroup.place(command);
    let (root, sys) = (CString::new("/").unwrap(), CString::new("/proc/sys").unwrap());
    // SAFETY: system calls with strings that were made before.
    unsafe {
        command.pre_exec(move || {
            let (root, sys, none) = (root.as_c_str(), sys.as_c_str(), None::<&std::ffi::CStr>);
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)?;
            mount(none, root, none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            mount(Some(sys), sys, none, MsFlags::MS_BIND, none)?;
            let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            Ok(mount(none, sys, none, read_only, none)?)
        });
    }
}
