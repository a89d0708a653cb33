//! When a rule is on: `start_after`, `pulse` and the deadline, all in the kernel's boot time.

use crate::rule::Rule;

/// Where a moment lies in a rule's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before `start_after`, or in an off phase of the pulse.
    Off,
    /// Injecting.
    On,
    /// The time box is over; nothing is ever injected again.
    Over,
}

/// The phase of `rule` at boot time `now_ns`.
#[inline(always)]
pub const fn phase(rule: &Rule, now_ns: u64) -> Phase {
    if now_ns >= rule.deadline_ns {
        return Phase::Over;
    }
    if now_ns < rule.start_ns {
        return Phase::Off;
    }
    if rule.pulse_on_ns == 0 {
        return Phase::On;
    }
    // The sum is at most two time boxes (user space checks it), so it does not wrap to zero. The compiler cannot know, and
    // a plain `%` would bring a panic path into the kernel.
    let period = rule.pulse_on_ns.wrapping_add(rule.pulse_off_ns);
    match (now_ns - rule.start_ns).checked_rem(period) {
        Some(into) if into < rule.pulse_on_ns => Phase::On,
        _ => Phase::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(start: u64, deadline: u64, on: u64, off: u64) -> Rule {
        Rule { start_ns: start, deadline_ns: deadline, pulse_on_ns: on, pulse_off_ns: off, ..Rule::default() }
    }

    #[test]
    fn edges() {
        let r = rule(100, 200, 0, 0);
        assert_eq!(Phase::Off, phase(&r, 99));
        assert_eq!(Phase::On, phase(&r, 100));
        assert_eq!(Phase::On, phase(&r, 199));
        assert_eq!(Phase::Over, phase(&r, 200));
        assert_eq!(Phase::Over, phase(&r, u64::MAX));
    }

    #[test]
    fn pulses() {
        let r = rule(100, 1_000, 5, 10);
        for (now, expected) in
            [(100, Phase::On), (104, Phase::On), (105, Phase::Off), (114, Phase::Off), (115, Phase::On)]
        {
            assert_eq!(expected, phase(&r, now), "at {now}");
        }
    }

    proptest! {
        #[test]
        fn never_on_outside_the_time_box(start: u64, deadline: u64, on in 0..u64::MAX / 4, off in 0..u64::MAX / 4, now: u64) {
            if phase(&rule(start, deadline, on, off), now) == Phase::On {
                prop_assert!(start <= now && now < deadline);
            }
        }
    }
}
