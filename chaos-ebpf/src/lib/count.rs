//! The books: exact counts per rule and CPU.
//!
//! The adds are atomic although every CPU has its own slot: cgroup programs run preemptible, and another task's program
//! may come in between on the same CPU.

use core::arch::asm;

use chaos_common::counters::{Counters, Skip};

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
    // SAFETY: as above; the enumeration is as long as the array.
    unsafe { add_one((&raw mut (*counters).skipped).cast::<u64>().add(why as usize)) }
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
