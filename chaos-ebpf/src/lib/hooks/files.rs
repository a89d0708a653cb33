//! Questions about open files.

use aya_ebpf::programs::LsmContext;
use chaos_common::{rule::hook, scope::Scope};

use super::{pointer, previous};
use crate::lib::{
    caller, file,
    offset::Known,
    syscall::{Call, answer},
};

/// `MAY_WRITE` (`include/linux/fs.h`).
const MAY_WRITE: u32 = 2;
/// `MAY_READ`.
const MAY_READ: u32 = 4;

/// `file_permission(file, mask)`.
#[inline(always)]
pub fn permission(ctx: &LsmContext) -> i32 {
    let (mask, before) = (ctx.arg::<u32>(1), previous(ctx, 2));
    if mask & (MAY_READ | MAY_WRITE) == 0 {
        return before;
    }
    // No branch, of which the compiler would make two programs.
    const { assert!(hook::WRITE == hook::READ << 1 && MAY_WRITE == 1 << 1) };
    let hook = hook::READ << (mask >> 1 & 1);
    answer(hook, before, |scope| of(scope, pointer(ctx, 0)))
}

/// `file_open(file)`. Opening a program to run it is part of execve(2).
#[inline(always)]
pub fn open(ctx: &LsmContext) -> i32 {
    answer(hook::OPEN, previous(ctx, 1), |scope| {
        let opened = pointer(ctx, 0);
        if file::is_to_be_run(opened) { None } else { of(scope, opened) }
    })
}

/// `file_truncate(file)`.
#[inline(always)]
pub fn truncate(ctx: &LsmContext) -> i32 {
    answer(hook::TRUNCATE, previous(ctx, 1), |scope| of(scope, pointer(ctx, 0)))
}

/// `mmap_file(file, ...)` with so many arguments. What the kernel maps of a program that it starts is part of execve(2);
/// a process could not live through that any more.
#[inline(always)]
pub fn mmap(ctx: &LsmContext, arguments: usize) -> i32 {
    answer(hook::MMAP, previous(ctx, arguments), |scope| {
        let mapped = pointer(ctx, 0);
        if caller::is_in_exec() {
            None
        } else if mapped.is_nothing() {
            Some(Call::with(0))
        } else {
            of(scope, mapped)
        }
    })
}

/// A call on an open file, unless it is the kernel's own: overlayfs opens and reads the files and directories below with
/// the rights of whoever has mounted it.
#[inline(always)]
fn of(scope: &Scope, used: Known) -> Option<Call> {
    if file::is_of_the_kernel(used) || caller::acts_for_another() {
        return None;
    }
    Some(Call::with(file::facts(scope, used)?))
}
