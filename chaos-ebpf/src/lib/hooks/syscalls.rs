//! System calls for which the kernel asks nobody. Their own function has one argument, the registers.

use aya_ebpf::programs::LsmContext;
use chaos_common::rule::hook;

use crate::lib::syscall::{Call, answer};

/// fsync(2), fdatasync(2).
#[inline(always)]
pub fn fsync(ctx: &LsmContext) -> i64 {
    call(ctx, hook::FSYNC)
}

/// close(2).
#[inline(always)]
pub fn close(ctx: &LsmContext) -> i64 {
    call(ctx, hook::CLOSE)
}

/// poll(2), `epoll_wait(2)`, select(2) and their like.
#[inline(always)]
pub fn poll(ctx: &LsmContext) -> i64 {
    call(ctx, hook::POLL)
}

#[inline(always)]
fn call(ctx: &LsmContext, hook: u32) -> i64 {
    let previous: i64 = ctx.arg(1);
    let previous = if (-4095..=0).contains(&previous) { previous as i32 } else { 0 };
    i64::from(answer(hook, previous, |_| Some(Call::with(0))))
}
