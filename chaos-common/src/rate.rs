//! A token bucket: packets leave at a rate, and a burst of them at once.
//!
//! It is kept as one number, the time at which the bucket will be full again: the generic cell rate algorithm (ITU-T
//! I.371, annex A), which is a token bucket without a clock that ticks.

/// `numbers` of a rule: bytes per second.
pub const RATE: usize = 0;
/// `numbers` of a rule: how many bytes may leave at once, in ns at that rate.
pub const BURST_NS: usize = 1;
/// `numbers` of a rule: [`OF_RULE`] or [`OF_FLOW`].
pub const SHARED: usize = 2;

/// One bucket for all packets of the rule.
pub const OF_RULE: u64 = 0;
/// One for each connection.
pub const OF_FLOW: u64 = 1;

const SECOND: u64 = 1_000_000_000;

/// How long `bytes` take at `rate` bytes per second, in ns. A rate of 0 is refused by user space.
#[inline(always)]
pub const fn takes(bytes: u64, rate: u64) -> u64 {
    match bytes.wrapping_mul(SECOND).checked_div(rate) {
        Some(ns) => ns,
        None => 0,
    }
}

/// The state after a packet that `takes` so long has come at `now`, and how long it must wait, all in ns.
#[inline(always)]
pub const fn pass(numbers: &[u64; 4], state: u64, now: u64, takes: u64) -> (u64, u64) {
    let full = if state > now { state } else { now };
    let after = full.wrapping_add(takes);
    let free = now.wrapping_add(numbers[BURST_NS]);
    (after, after.saturating_sub(free))
}

/// The state after a packet of `bytes` has come at `now`, and how long it must wait, both in ns.
#[inline(always)]
pub const fn take(numbers: &[u64; 4], state: u64, now: u64, bytes: u64) -> (u64, u64) {
    pass(numbers, state, now, takes(bytes, numbers[RATE]))
}

/// The state as if a packet that takes so long had not come.
#[inline(always)]
pub const fn give_back(state: u64, takes: u64) -> u64 {
    state.saturating_sub(takes)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// 1 MB/s and 10,000 bytes at once.
    const NUMBERS: [u64; 4] = [1_000_000, 10_000_000, OF_RULE, 0];

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (mut state, mut waits) = (0, Vec::new());
        for _ in 0..15 {
            let (next, wait) = take(&NUMBERS, state, 5 * SECOND, 1_000);
            state = next;
            waits.push(wait);
        }
        assert!(waits[..10].iter().all(|wait| *wait == 0), "{waits:?}");
        assert_eq!([1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000], waits[10..]);
    }

    #[test]
    fn an_idle_bucket_holds_no_more_than_a_burst() {
        let (state, _) = take(&NUMBERS, 0, SECOND, 10_000);
        let (_, wait) = take(&NUMBERS, state, 100 * SECOND, 11_000);
        assert_eq!(1_000_000, wait);
    }

    #[test]
    fn the_long_run_is_the_rate() {
        let (mut state, mut left) = (0, 0);
        for i in 0..100_000u64 {
            let now = i * 100_000;
            let (next, wait) = take(&NUMBERS, state, now, 250);
            state = next;
            left = now + wait;
        }
        // 25 MB, of which 10 kB leave at once.
        assert!(left.abs_diff(24_990_000_000) < 1_000_000, "{left}");
    }
}
