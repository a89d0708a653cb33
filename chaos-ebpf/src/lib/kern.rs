//! The kernel helpers used, each behind a safe function with its units.

use core::arch::asm;

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::generated::{
        bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_retval, bpf_get_smp_processor_id,
        bpf_ktime_get_boot_ns, bpf_ktime_get_ns,
    },
};
use chaos_common::{bit, uses::Uses};

/// `CLOCK_BOOTTIME` in nanoseconds: runs on through suspend and does not follow wall-clock steps.
#[inline(always)]
pub fn boot_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the clock by which queues hold packets back.
#[inline(always)]
pub fn monotonic_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The CPU that runs the program.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: no arguments.
    unsafe { bpf_get_smp_processor_id() as u32 }
}

/// Id of the calling task's cgroup (v2).
#[inline(always)]
pub fn current_cgroup() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_get_current_cgroup_id() }
}

/// The number that the network namespace of a call's socket has for as long as the host runs.
#[inline(always)]
pub fn netns_cookie(ctx: *mut bpf_sock_addr) -> u64 {
    // SAFETY: a valid context.
    unsafe { bpf_get_netns_cookie(ctx.cast()) }
}

/// Whether this kernel lets a program say how a call fails: `chaos_common::host::SETS_RETVAL`, written by the loader.
#[unsafe(no_mangle)]
static KCHAOS_SETS_RETVAL: u32 = 1;

/// See [`KCHAOS_SETS_RETVAL`]. Where this is false the verifier never looks at what follows from it.
#[inline(always)]
pub fn sets_retval() -> bool {
    // SAFETY: a live static. Volatile: to the compiler it is a constant, to the loader it is not.
    unsafe { (&raw const KCHAOS_SETS_RETVAL).read_volatile() != 0 }
}

/// Whether all programs of the experiment may hold locks: `chaos_common::host::LOCKS`, written by the loader.
#[unsafe(no_mangle)]
static KCHAOS_LOCKS: u32 = 1;

/// See [`KCHAOS_LOCKS`].
#[inline(always)]
pub fn locks() -> bool {
    // SAFETY: a live static. Volatile: to the compiler it is a constant, to the loader it is not.
    unsafe { (&raw const KCHAOS_LOCKS).read_volatile() != 0 }
}

/// What the rules of the experiment ask for, written by the loader.
#[unsafe(no_mangle)]
static KCHAOS_USES: Uses = Uses::ALL;

/// Whether a rule of the experiment asks for any of these ([`Uses::what`]). Where none does the verifier never looks at what
/// follows from it: so it is asked at the beginning of every function that is verified by itself, too.
#[inline(always)]
pub fn uses(any: u32) -> bool {
    // SAFETY: a live static. Volatile: to the compiler it is a constant, to the loader it is not.
    unsafe { (&raw const KCHAOS_USES.what).read_volatile() & any != 0 }
}

/// In how many words of clauses there are any: the verifier follows no more rounds than that.
#[inline(always)]
pub fn words() -> u32 {
    // SAFETY: as above.
    unsafe { (&raw const KCHAOS_USES.words).read_volatile() }
}

/// How many rules there are in one word at most, likewise.
#[inline(always)]
pub fn rules() -> u32 {
    // SAFETY: as above.
    unsafe { (&raw const KCHAOS_USES.rules).read_volatile() }
}

/// What earlier programs of this hook made of the call: 0 or a negative errno. A kernel that cannot tell
/// ([`sets_retval`]) says 0.
#[inline(always)]
pub fn earlier_verdict() -> i32 {
    if !sets_retval() {
        return 0;
    }
    // SAFETY: no arguments.
    unsafe { bpf_get_retval() as i32 }
}

/// The same number, of which the compiler knows nothing. It would otherwise prove the check of an index superfluous and
/// leave it out, by reasoning about enumerations that the verifier cannot follow.
#[inline(always)]
pub fn opaque(number: u64) -> u64 {
    let mut number = number;
    // SAFETY: a move of a register to itself. (No instruction at all would give two source lines the same offset,
    // which the kernel refuses.)
    unsafe { asm!("{n} = {n}", n = inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// A number as an index. Its bounds are stated in the code: before Linux 6.18 the verifier knows none of a number
/// whose bytes were exchanged.
#[inline(always)]
pub fn index(number: u16) -> usize {
    (opaque(u64::from(number)) & 0xffff) as usize
}

/// The same number, of which the verifier knows nothing any more. What it knows grows with every round of a loop, and
/// no round would look like another to it. `any` must come from a map.
#[inline(always)]
pub fn forgotten(number: u64, any: u64) -> u64 {
    let mut number = number;
    // SAFETY: the same bits are changed twice.
    unsafe {
        asm!("{n} ^= {a}", "{n} ^= {a}", n = inout(reg) number, a = in(reg) any, options(nomem, nostack, preserves_flags));
    }
    number
}

/// The number of the lowest bit that is set, 0 to 63; of no bit at all, anything. Opaque: the compiler must not
/// conclude that an index made of it needs no check.
#[inline(always)]
pub fn lowest_bit(bits: u64) -> u32 {
    let place = opaque(u64::from(bit::place(bits))) as usize % bit::NUMBERS.len();
    opaque(u64::from(bit::NUMBERS[place])) as u32
}
