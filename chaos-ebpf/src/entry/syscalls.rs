//! System calls for which the kernel asks nobody: their own first functions. A program answers 0 or a negative errno,
//! as a `long` here.
//!
//! The section is that of programs which watch functions, and the function that it names stands for all of them: user
//! space says where each goes.

use core::ffi::c_void;

use aya_ebpf::programs::LsmContext;

use crate::lib::hooks::syscalls;

/// fsync(2), fdatasync(2).
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry/fsync")]
pub extern "C" fn kchaos_sys_fsync(ctx: *mut c_void) -> i64 {
    syscalls::fsync(&LsmContext::new(ctx))
}

/// close(2).
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry/close")]
pub extern "C" fn kchaos_sys_close(ctx: *mut c_void) -> i64 {
    syscalls::close(&LsmContext::new(ctx))
}

/// poll(2), ppoll(2), `epoll_wait(2)`, `epoll_pwait(2)`, `epoll_pwait2(2)`, select(2), pselect6(2).
#[unsafe(no_mangle)]
#[unsafe(link_section = "fentry/poll")]
pub extern "C" fn kchaos_sys_poll(ctx: *mut c_void) -> i64 {
    syscalls::poll(&LsmContext::new(ctx))
}
