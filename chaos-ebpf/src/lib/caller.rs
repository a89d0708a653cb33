//! Who makes a call: whether the target, and which user and program.
//!
//! Programs in the kernel's own functions run for every process on the host. So this is the first question of all, and
//! for those who are not in the target it is one helper function and a look into a number.

use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task,
    bpf_get_current_uid_gid,
};
use chaos_common::{
    call::{COMM, sieve},
    scope::{FLAG_PROGRAMS, FLAG_USERS, MAX_DEPTHS, SEVERAL, Scope},
};

use super::{
    kern,
    offset::{Known, copied, offset},
};
use crate::maps::{KCHAOS_PROGRAMS, KCHAOS_TARGETS, KCHAOS_USERS};

/// `chaos_common::host::KNOWS_ANCESTORS`, written by the loader.
#[unsafe(no_mangle)]
static KCHAOS_KNOWS_ANCESTORS: u32 = 1;

/// `PF_KTHREAD` (`include/linux/sched.h`): the same number ever since there is one.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `PF_IO_WORKER`, from Linux 5.12 on.
const IO_WORKER: u32 = 0x0000_0010;

/// The thread that makes the call: process in the upper 32 bits, thread in the lower.
#[inline(always)]
pub fn thread() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_pid_tgid() }
}

/// The process that makes the call.
#[inline(always)]
pub fn process() -> u32 {
    (thread() >> 32) as u32
}

/// Whether the calling task is below one of the target's cgroups.
#[inline(always)]
pub fn is_target(scope: &Scope) -> bool {
    if scope.depth != SEVERAL {
        return is_targets(scope, ancestor(scope.depth));
    }
    let mut depths = scope.depths;
    for _ in 0..MAX_DEPTHS {
        if depths == 0 {
            return false;
        }
        if is_targets(scope, ancestor(kern::lowest_bit(depths))) {
            return true;
        }
        depths &= depths - 1;
    }
    false
}

/// Whether this is the id of one of the target's cgroups.
#[inline(always)]
fn is_targets(scope: &Scope, id: u64) -> bool {
    // SAFETY: the value is not used, only whether there is one.
    scope.sieve & sieve(id) != 0 && unsafe { KCHAOS_TARGETS.get(id) }.is_some()
}

/// The id of the calling task's cgroup at a depth; 0 if it is not that deep.
#[inline(always)]
fn ancestor(depth: u32) -> u64 {
    // SAFETY: a live static. Volatile: to the compiler it is a constant, to the loader it is not.
    if unsafe { (&raw const KCHAOS_KNOWS_ANCESTORS).read_volatile() } != 0 {
        // SAFETY: a plain number.
        return unsafe { bpf_get_current_ancestor_cgroup_id(depth as i32) };
    }
    let id = || {
        let cgroups = copied::<u64>(task(), offset!(task_cgroups))?;
        let cgroup = copied::<u64>(cgroups, offset!(css_set_cgroup))?;
        // What lies behind the last is no id.
        if depth > copied::<u32>(cgroup, offset!(cgroup_level))? {
            return None;
        }
        copied::<u64>(cgroup, offset!(cgroup_ancestor_ids) + depth as usize * size_of::<u64>())
    };
    id().unwrap_or(0)
}

/// The address of the calling task.
#[inline(always)]
pub fn task() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_task() }
}

/// Whether it is one of the kernel's own threads, which nobody means who names the whole host.
#[inline(always)]
pub fn is_kernel() -> bool {
    copied::<u32>(task(), offset!(task_flags)).is_none_or(|flags| flags & KERNEL_THREAD != 0)
}

/// Whether the kernel makes this call on its own behalf while it carries out another one: overlayfs does, with the
/// rights of whoever has mounted it.
#[inline(always)]
pub fn acts_for_another() -> bool {
    let (used, own) =
        (copied::<u64>(task(), offset!(task_cred)), copied::<u64>(task(), offset!(task_real_cred)));
    used != own
}

/// Whether the calling task is being made into another program at this moment.
#[inline(always)]
pub fn is_in_exec() -> bool {
    // The new memory gets its program last of all (`load_elf_binary`, fs/binfmt_elf.c).
    copied::<u64>(task(), offset!(task_mm))
        .and_then(|memory| copied::<u64>(memory, offset!(mm_end_code)))
        .is_none_or(|end| end == 0)
}

/// The address of the inode of the program that the calling task runs; 0 if it has none.
#[inline(always)]
pub fn program() -> u64 {
    // What cannot be copied is 0, and at 0 is nothing to be copied.
    let memory = Known::at(task()).read::<u64>(offset!(task_mm));
    let file = Known::at(memory).read::<u64>(offset!(mm_exe_file));
    Known::at(file).read(offset!(file_inode))
}

/// Whether it is one of the kernel's threads that make calls for a process (`io_uring`).
#[inline(always)]
pub fn is_worker() -> bool {
    copied::<u32>(task(), offset!(task_flags)).is_some_and(|flags| flags & IO_WORKER != 0)
}

/// The facts that hold because of who makes the call.
#[inline(always)]
pub fn facts(scope: &Scope) -> u64 {
    let mut facts = 0;
    if scope.flags & FLAG_USERS != 0 {
        // SAFETY: no arguments.
        let user = unsafe { bpf_get_current_uid_gid() } as u32;
        // SAFETY: nobody writes the entries of this map while programs run.
        facts |= unsafe { KCHAOS_USERS.get(user) }.copied().unwrap_or(0);
    }
    if scope.flags & FLAG_PROGRAMS != 0 {
        let mut name = [0u64; COMM / 8];
        // SAFETY: as many bytes as there are.
        unsafe { bpf_get_current_comm(name.as_mut_ptr().cast(), COMM as u32) };
        // SAFETY: as above.
        facts |= unsafe { KCHAOS_PROGRAMS.get(name) }.copied().unwrap_or(0);
    }
    facts
}
