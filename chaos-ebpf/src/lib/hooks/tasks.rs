//! Questions about processes.

use aya_ebpf::programs::LsmContext;
use chaos_common::rule::hook;

use super::{pointer, previous};
use crate::lib::{
    file,
    offset::offset,
    syscall::{Call, answer},
};

/// `bprm_creds_for_exec(bprm)`.
#[inline(always)]
pub fn exec(ctx: &LsmContext) -> i32 {
    answer(hook::EXEC, previous(ctx, 1), |scope| {
        let file = pointer(ctx, 0).follow(offset!(binprm_file))?;
        Some(Call::with(file::facts(scope, file)?))
    })
}

/// `PF_IO_WORKER` and `PF_USER_WORKER` (`include/linux/sched.h`).
const WORKER: u32 = 0x0000_0010 | 0x0000_4000;

/// `task_alloc(task, clone_flags)`. Threads that the kernel makes for itself, of `io_uring` and vhost, are no fork(2).
#[inline(always)]
pub fn fork(ctx: &LsmContext) -> i32 {
    answer(hook::FORK, previous(ctx, 2), |_| {
        let flags = pointer(ctx, 0).read::<u32>(offset!(task_flags));
        if flags & WORKER != 0 { None } else { Some(Call::with(0)) }
    })
}
