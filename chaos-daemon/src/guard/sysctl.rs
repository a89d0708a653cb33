//! Settings of the kernel below /proc/sys, in the network namespace of the calling thread.
//!
//! A container sees them read-only, whatever it may do otherwise. Who has `CAP_SYS_ADMIN` can have a procfs made that is
//! mounted nowhere and goes with its descriptor; in it they can be written.

use std::{
    ffi::CStr,
    fs,
    io::{self, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
    ptr,
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

/// `linux/mount.h`; the `libc` crate does not have these for every C library.
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

const PROC: &CStr = c"proc";

/// Writes the setting at `path`, which begins with /proc/sys.
pub fn write(path: &Path, value: &str) -> io::Result<()> {
    let error = match fs::write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => error,
        other => return other,
    };
    // Where this cannot be done either, the first error is the one to understand.
    let (Ok(below), Ok(procfs)) = (path.strip_prefix("/proc"), procfs()) else { return Err(error) };
    let file = openat(&procfs, below, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    fs::File::from(file).write_all(value.as_bytes())
}

/// One that is mounted nowhere (Linux 5.2).
fn procfs() -> io::Result<OwnedFd> {
    // SAFETY: the name ends with a zero.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, PROC.as_ptr(), FSOPEN_CLOEXEC) };
    let context = owned(context)?;
    let nothing = ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither a key nor a value.
    let made = unsafe {
        libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, nothing, nothing, 0)
    };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })
}

fn owned(answer: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(answer) {
        // SAFETY: the kernel has just made it for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
