//! The books: exact counts per rule and CPU.
//!
//! The adds are atomic although every CPU has its own slot: cgroup programs run preemptible, and another task's program
//! may come in between on the same CPU.

use core::arch::asm;

use chaos_common::counters::{Counters, SKIPS, Skip};

use super::kern;
use crate::maps::KCHAOS_NOTED;

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

/// Counts a packet that nobody can be named for.
#[inline(always)]
pub fn unattributed(counters: *mut Counters) {
    // SAFETY: as above.
    unsafe { add_one(&raw mut (*counters).unattributed) }
}

/// Counts an injection, and notes when it was.
#[inline(always)]
pub fn injected(counters: *mut Counters) {
    // SAFETY: as above.
    unsafe {
        add_one(&raw mut (*counters).injected);
        (&raw mut (*counters).last_injected_ns).write_volatile(kern::boot_ns());
    }
}

/// Counts a match that was not hit.
#[inline(always)]
pub fn skipped(counters: *mut Counters, why: Skip) {
    skipped_number(counters, why as u32);
}

/// Counts a match that was not hit, by the number of the reason.
#[inline(always)]
pub fn skipped_number(counters: *mut Counters, why: u32) {
    let index = kern::opaque(u64::from(why)) as usize;
    if index < SKIPS {
        // SAFETY: as above, and the index was just checked.
        unsafe { add_one((&raw mut (*counters).skipped).cast::<u64>().add(index)) }
    }
}

/// Counts a connection that a table did not know, one of `chaos_common::scope::noted`.
#[inline(always)]
pub fn noted(table: u32) {
    if let Some(total) = KCHAOS_NOTED.get_ptr_mut(table) {
        // SAFETY: as above.
        unsafe { add_one(total) }
    }
}

/// `BPF_STX | BPF_XADD`: an atomic add whose old value is not asked for, which every kernel has. (Rust's atomics want
/// the old value, an instruction of Linux 5.12.)
///
/// # Safety
/// `at` must point into a map value and be aligned to 8 bytes.
#[inline(always)]
unsafe fn add_one(at: *mut u64) {
    // SAFETY: the caller's promise.
    unsafe { add(at, 1) }
}

/// The same with another number.
///
/// # Safety
/// As above.
#[inline(always)]
pub unsafe fn add(at: *mut u64, much: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("lock *(u64 *)({at} + 0) += {much}", at = in(reg) at, much = in(reg) much) }
}
