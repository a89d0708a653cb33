//! When something is to happen next, by the times of a rule.

use std::time::Duration;

use chaos_common::{
    rule::Rule,
    window::{self, Phase},
};

/// How long until the phase of a rule may become another one. `None`: never.
pub fn until_edge(rule: &Rule, now: u64) -> Option<Duration> {
    let until = |then: u64| Some(Duration::from_nanos(then.saturating_sub(now)));
    if now >= rule.deadline_ns {
        return None;
    }
    if now < rule.start_ns {
        return until(rule.start_ns.min(rule.deadline_ns));
    }
    let period = rule.pulse_on_ns.saturating_add(rule.pulse_off_ns);
    let Some(into) = (now - rule.start_ns).checked_rem(period).filter(|_| rule.pulse_on_ns > 0) else {
        return until(rule.deadline_ns);
    };
    let edge = if into < rule.pulse_on_ns { rule.pulse_on_ns } else { period };
    until((now - into + edge).min(rule.deadline_ns))
}

/// Whether what lasts so long from the beginning of its rule is on.
pub fn is_on(rule: &Rule, lasts: Option<u64>, now: u64) -> bool {
    window::phase(rule, now) == Phase::On && lasts.is_none_or(|lasts| now - rule.start_ns < lasts)
}

/// The moment of the n-th time (from 0) of what is done every so often; `None`: it is not done so often.
pub fn due(rule: &Rule, every: Option<u64>, n: u64) -> Option<u64> {
    // Without its own rhythm it has that of its pulse.
    let pulse = rule.pulse_on_ns.saturating_add(rule.pulse_off_ns);
    let every = every.or((rule.pulse_on_ns > 0).then_some(pulse)).unwrap_or(0);
    if every == 0 && n > 0 {
        return None;
    }
    every
        .checked_mul(n)
        .and_then(|after| rule.start_ns.checked_add(after))
        .filter(|due| *due < rule.deadline_ns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(on: u64, off: u64) -> Rule {
        Rule { start_ns: 100, deadline_ns: 1_000, pulse_on_ns: on, pulse_off_ns: off, ..Rule::default() }
    }

    #[test]
    fn edges() {
        let ns = |rule: &Rule, now| until_edge(rule, now).map(|left| left.as_nanos());
        assert_eq!(Some(100), ns(&rule(0, 0), 0));
        assert_eq!(Some(900), ns(&rule(0, 0), 100));
        assert_eq!(None, ns(&rule(0, 0), 1_000));
        assert_eq!(Some(5), ns(&rule(5, 10), 100));
        assert_eq!(Some(10), ns(&rule(5, 10), 105));
        assert_eq!(Some(1), ns(&rule(5, 10), 999));
    }

    #[test]
    fn what_is_done_again() {
        assert_eq!((Some(100), None), (due(&rule(0, 0), None, 0), due(&rule(0, 0), None, 1)));
        assert_eq!((Some(400), None), (due(&rule(0, 0), Some(300), 1), due(&rule(0, 0), Some(300), 3)));
        assert_eq!(Some(115), due(&rule(5, 10), None, 1));
    }

    #[test]
    fn what_lasts_a_while_is_off_afterwards() {
        let rule = rule(0, 0);
        assert_eq!([false, true, false], [99, 149, 150].map(|now| is_on(&rule, Some(50), now)));
    }

    proptest! {
        /// Nothing changes before the edge, so nobody need look.
        #[test]
        fn the_phase_stays_until_the_edge(on in 0..50u64, off in 1..50u64, now in 0..1_100u64) {
            let rule = rule(on, off);
            let left = until_edge(&rule, now).map_or(0, |left| u64::try_from(left.as_nanos()).unwrap());
            prop_assert_eq!(left == 0, window::phase(&rule, now) == Phase::Over);
            for later in now..now + left {
                prop_assert_eq!(window::phase(&rule, now), window::phase(&rule, later));
            }
        }
    }
}
