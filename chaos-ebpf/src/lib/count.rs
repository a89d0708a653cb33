//! The books: exact counts per rule and CPU.
//!
//! The adds are atomic although every CPU has its own slot: cgroup programs run preemptible, and another task's program
//! may come in between on the same CPU.

use core::arch::asm;

use chaos_common::counters::{Counters, SKIPS, Skip};

/// Counts a match; answers how many this CPU has seen before.
#[inline(always)]
pub fn matched(counters: *mut Counters) -> u64 {
    // SAFETY: `counters` points to a live map value.
    unsafe {
        let seen = (&raw const (*counters).matched).read_volatile();
        add_one(&raw mut (*counters).matched);
        seen
    }
}

/// Counts an injection.
#[inline(always)]
pub fn injected(counters: *mut Counters) {
    // SAFETY: as above.
    unsafe { add_one(&raw mut (*counters).injected) }
}

/// Counts a match that was not hit.
#[inline(always)]
pub fn skipped(counters: *mut Counters, why: Skip) {
    let index = opaque(why as u64) as usize;
    if index < SKIPS {
        // SAFETY: as above, and the index was just checked.
        unsafe { add_one((&raw mut (*counters).skipped).cast::<u64>().add(index)) }
    }
}

/// The same number, of which the compiler knows nothing. It would otherwise prove the check of an index superfluous and
/// leave it out, by reasoning about enumerations that the verifier cannot follow.
#[inline(always)]
fn opaque(number: u64) -> u64 {
    let mut number = number;
    // SAFETY: a move of a register to itself. (No instruction at all would give two source lines the same offset, which the
    // kernel refuses.)
    unsafe { asm!("{n} = {n}", n = inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// `BPF_STX | BPF_XADD`: an atomic add whose old value is not asked for, which every kernel has. (Rust's atomics want
/// the old value, an instruction of Linux 5.12.)
///
/// # Safety
/// `at` must point into a map value and be aligned to 8 bytes.
#[inline(always)]
unsafe fn add_one(at: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("lock *(u64 *)({at} + 0) += {one}", at = in(reg) at, one = in(reg) 1u64) }
}
