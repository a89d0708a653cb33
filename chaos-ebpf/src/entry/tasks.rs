//! The kernel's questions about processes.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::lib::hooks::tasks;

/// `security_bprm_creds_for_exec`: execve(2), once for each, also for a script and its interpreter.
#[lsm(hook = "bprm_creds_for_exec")]
pub fn kchaos_bprm_creds_for_exec(ctx: LsmContext) -> i32 {
    tasks::exec(&ctx)
}

/// `security_task_alloc`: fork(2), clone(2).
#[lsm(hook = "task_alloc")]
pub fn kchaos_task_alloc(ctx: LsmContext) -> i32 {
    tasks::fork(&ctx)
}
