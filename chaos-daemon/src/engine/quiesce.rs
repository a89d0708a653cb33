//! Waiting until no program runs that has seen what we have just changed.

use std::time::Duration;

/// A program that was already running when its link went may still be counting. Programs run inside RCU read-side
/// sections, and membarrier(2)'s global command waits for all of them to end (`kernel/sched/membarrier.c`).
pub fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: a system call without pointers.
    let waited = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    // SAFETY: a question about the system, without pointers.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    if waited != 0 || processors == 1 {
        // Not on a kernel with isolated (nohz_full) CPUs; and with one CPU there is nothing to wait for, says the
        // kernel, although the program for a call may have been interrupted in favour of us. None of ours runs this
        // long.
        std::thread::sleep(Duration::from_millis(20));
    }
}
