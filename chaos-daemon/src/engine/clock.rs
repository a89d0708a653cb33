//! The kernel's clocks: the boot clock, which all times of an experiment are measured by, and the monotonic one, by
//! which packets wait.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME` in nanoseconds, the clock of `bpf_ktime_get_boot_ns`.
pub fn boot_ns() -> u64 {
    // 0, of a clock that cannot be read, would be long before any deadline's start: nothing is injected.
    ns(ClockId::CLOCK_BOOTTIME)
}

/// `CLOCK_MONOTONIC` in nanoseconds, the clock of `bpf_ktime_get_ns` and of timers. It stands still while the machine
/// sleeps.
pub fn monotonic_ns() -> u64 {
    ns(ClockId::CLOCK_MONOTONIC)
}

/// Both clocks exist since Linux 2.6.39.
fn ns(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |t| {
        let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0)
    })
}
