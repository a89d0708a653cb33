//! The control map: the two numbers that switch everything on and off while programs are attached.
//!
//! It is an array of `u64` with the name [`MAP_NAME`], so that `kchaos halt` can find the map of every experiment on
//! the host by name, whoever loaded it, and write to it. Both slots start at zero: a freshly attached program injects
//! nothing until the engine *arms* it by writing the first lease.

/// Name of the control map in the kernel (at most 15 bytes are kept by `BPF_OBJ_NAME_LEN`).
pub const MAP_NAME: &str = "KCHAOS_CONTROL";

/// Slot of the lease: the boot time (`CLOCK_BOOTTIME`, ns) up to which injection is allowed. The engine moves it
/// forward several times a second; when the engine hangs or is stopped, the fault ends at this time.
pub const SLOT_LEASE: u32 = 0;

/// Slot of the halt mark: anything but 0 forbids injection for good. A slot of its own, so that an engine that extends
/// its lease at the same moment cannot undo a halt.
pub const SLOT_HALT: u32 = 1;

/// Number of slots.
pub const SLOTS: usize = 2;

/// How long a lease lasts, in nanoseconds: a stopped (SIGSTOP) or hung engine ends its faults within this time.
pub const LEASE_NS: u64 = 2_000_000_000;

/// Whether the engine allows injection at the boot time `now_ns`.
#[inline(always)]
pub const fn armed(now_ns: u64, lease_ns: u64, halt: u64) -> bool {
    halt == 0 && now_ns < lease_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_disarmed() {
        assert!(!armed(1, 0, 0));
    }

    #[test]
    fn lease_ends_at_its_nanosecond_and_halt_wins() {
        assert!(armed(99, 100, 0));
        assert!(!armed(100, 100, 0));
        assert!(!armed(99, 100, 1));
        assert!(!armed(99, u64::MAX, u64::MAX));
    }
}
