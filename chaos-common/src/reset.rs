//! When in its life a connection is cut: after so many bytes, or so much time.
//!
//! A connection is told by its sequence numbers. So what is sent again counts once, what was sent before the experiment
//! does not count, and a program that sees packets of one direction knows by the acknowledgements what went the other way.
//! What must stay true: of a connection that is not known nothing has been carried, so it is not cut by mistake.

/// `numbers` of a rule: more bytes than this must have been carried in a direction; 0 for no such condition.
pub const AFTER_BYTES: usize = 0;
/// `numbers` of a rule: the connection must be as old as this, in ns; 0 for no such condition.
pub const AFTER_NS: usize = 1;

/// Whether a rule looks at the life of connections at all.
#[inline(always)]
pub const fn looks_at_life(numbers: &[u64; 4]) -> bool {
    numbers[AFTER_BYTES] | numbers[AFTER_NS] != 0
}

/// Whether a connection is to be cut that is so old and has carried so much, in ns and bytes, of which the packet at hand
/// brings `fresh`. That packet is lost if it is hit, and may be of many segments (GSO): it is cut in front of it or behind
/// it, whichever is nearer to what was asked for.
#[inline(always)]
pub const fn is_due(numbers: &[u64; 4], carried: u64, fresh: u64, age: u64) -> bool {
    let asked = numbers[AFTER_BYTES];
    (asked == 0 || carried > asked && carried - asked > fresh >> 1) && age >= numbers[AFTER_NS]
}

/// What is known of a connection. The first of two is about the end with the smaller hash (`crate::flow`), or the other
/// way round: only that they are kept apart counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Life {
    /// When it was seen first, by `CLOCK_BOOTTIME` in ns.
    pub since: u64,
    /// How many bytes each end has sent.
    pub bytes: [u64; 2],
    /// The sequence number after the last byte of each end.
    pub next: [u32; 2],
    /// Bit 0 and 1: whether that is known.
    pub known: u32,
    /// Always 0.
    pub reserved: u32,
}

/// How many bytes an end has sent, after a sign of it that reaches from `begin` to `end` (sequence numbers, which wrap):
/// bytes and the sequence number after them. `known` is false if there was none before.
#[inline(always)]
pub const fn carried(bytes: u64, next: u32, known: bool, begin: u32, end: u32) -> (u64, u32) {
    let next = if known { next } else { begin };
    let more = end.wrapping_sub(next);
    // Further back than ahead: sent again.
    if more > u32::MAX / 2 { (bytes, next) } else { (bytes.wrapping_add(more as u64), end) }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Life {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_counts_once_and_numbers_wrap() {
        let mut seen = (0, 0);
        let start = u32::MAX - 1500;
        for (i, (begin, end)) in
            [(0u32, 1000u32), (1000, 2000), (0, 1000), (500, 2500)].into_iter().enumerate()
        {
            let (begin, end) = (start.wrapping_add(begin), start.wrapping_add(end));
            seen = carried(seen.0, seen.1, i > 0, begin, end);
        }
        assert_eq!((2500, start.wrapping_add(2500)), seen);
    }

    #[test]
    fn a_connection_that_is_not_known_has_carried_what_is_at_hand() {
        assert_eq!((1460, 7460), carried(0, 0, false, 6000, 7460));
        assert_eq!((0, 9), carried(0, 0, false, 9, 9));
    }

    #[test]
    fn it_is_cut_where_it_is_nearest() {
        let due = |carried, fresh| is_due(&[1000, 0, 0, 0], carried, fresh, 0);
        // 900 have come: 300 more are nearer if they pass; of 100 and 101 it does not matter.
        assert!(!due(1000, 100) && !due(1100, 200) && due(1101, 201) && due(1200, 300));
        assert!(due(1001, 0) && due(u64::MAX, u64::MAX));
    }

    #[test]
    fn both_conditions_must_be_met() {
        let due = |bytes, ns, carried, age| is_due(&[bytes, ns, 0, 0], carried, 0, age);
        assert!(due(0, 0, 0, 0));
        assert!(!due(1000, 0, 1000, 9) && due(1000, 0, 1001, 9));
        assert!(!due(0, 5, 1, 4) && due(0, 5, 1, 5));
        assert!(!due(1000, 5, 2000, 4) && !due(1000, 5, 999, 6) && due(1000, 5, 1001, 6));
        assert!(looks_at_life(&[0, 1, 0, 0]) && !looks_at_life(&[0, 0, 7, 7]));
    }
}
