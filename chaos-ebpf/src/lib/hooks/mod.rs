//! One function for each question of the kernel's: what its arguments are, and which calls do not count.
//!
//! The last argument of every hook is what others have made of the call so far.

pub mod files;
pub mod paths;
pub mod sockets;
pub mod syscalls;
pub mod tasks;

use aya_ebpf::programs::LsmContext;

use super::offset::Known;

/// An argument that is a pointer to a structure of the kernel's. Costs something: only for calls of the target's.
#[inline(always)]
fn pointer(ctx: &LsmContext, number: usize) -> Known {
    Known::argument(ctx, number)
}

/// What others have made of the call: the argument behind the hook's own, of which there are `count`.
#[inline(always)]
fn previous(ctx: &LsmContext, count: usize) -> i32 {
    ctx.arg(count)
}
