//! How late packets come out of the delay line, learnt from those that did: timers, queues and programs take their time,
//! nearly the same for every packet. A packet is asked back by so much earlier, and comes out when it is due.
//!
//! What must stay true: it is the *least* lateness of late that counts, so that hardly a packet comes out early, and none
//! by more than a fraction of what it waits. A crowd of packets that come out one behind the other teaches little.

/// No more than this is ever known, in ns. What is later has other reasons.
pub const MOST_NS: u64 = 500_000;

/// What is known is taken to grow by so little for each packet that is later, in ns.
const GROWS_NS: u64 = 2_000;

/// By how much earlier a packet is to be asked back that is to wait for `wait`, all in ns.
#[inline(always)]
pub const fn earlier(known: u64, wait: u64) -> u64 {
    let most = wait >> 2;
    if known < most { known } else { most }
}

/// What is known after a packet that came out so much later than it was asked back, in ns.
#[inline(always)]
pub const fn learn(known: u64, late: u64) -> u64 {
    let next = if late < known {
        late
    } else {
        let more = (late - known) >> 6;
        known + if more < GROWS_NS { more } else { GROWS_NS }
    };
    if next < MOST_NS { next } else { MOST_NS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::number;

    /// Late by 200 us, and by up to 100 us more; one in a hundred by milliseconds.
    fn lateness(i: u64) -> u64 {
        let more = u64::from(number(5, i, 0)) % 100_000;
        200_000 + if i.is_multiple_of(100) { more * 50 } else { more }
    }

    #[test]
    fn packets_come_out_when_they_are_due_and_hardly_any_early() {
        let (mut known, mut early, mut off) = (0, 0, 0);
        for i in 0..20_000 {
            let (due, earlier) = (1 << 40, earlier(known, 10_000_000));
            let now = due - earlier + lateness(i);
            known = learn(known, lateness(i));
            if i >= 1_000 {
                early += u64::from(now < due);
                off += now.abs_diff(due).min(100_000);
                assert!(now + 50_000 > due, "early by {} ns", due - now);
            }
        }
        assert!(early < 19_000 / 5, "{early} were early");
        assert!(off / 19_000 < 80_000, "off by {} ns", off / 19_000);
    }

    #[test]
    fn short_waits_stay_most_of_what_they_are() {
        assert_eq!(25_000, earlier(MOST_NS, 100_000));
        assert_eq!(0, earlier(MOST_NS, 0));
        assert_eq!(MOST_NS, (0..10_000).fold(0, |known, _| learn(known, 1 << 30)));
    }
}
