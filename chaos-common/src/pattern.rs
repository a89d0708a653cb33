//! Which of a rule's matches are hit, where that is more than one independent draw for each: losses that come in
//! bursts, every n-th packet, the first packets of a connection.
//!
//! A pattern has one word of state, for the rule or for each connection. [`step`] goes from one state to the next; it
//! is called under a lock, so that no packet is left out of the chain whichever CPU it comes through.
//!
//! What must stay true: the share of hits in the long run is what user space says it is. netem's correlation breaks
//! that (asked for 25 % with a correlation of 25 % it loses 16.65 %).

/// Each match by a draw of its own ([`crate::draw`]): no state.
pub const INDEPENDENT: u32 = 0;

/// With the probability `shares[0]` the same as for the match before, else a draw of its own. The share stays that of
/// the draw, and neighbours correlate by `shares[0]`.
pub const CORRELATED: u32 = 1;

/// Gilbert-Elliott: two states, good and bad. `shares`: from good to bad, from bad to good, hit in bad, hit in good. As
/// netem's `loss gemodel` (`net/sched/sch_netem.c`), whose h is 1 - `shares[2]` and whose k is 1 - `shares[3]`. The
/// threshold of the rule is the share of time that is bad, from which the first state is drawn.
///
/// E. N. Gilbert, "Capacity of a Burst-Noise Channel", 1960; E. O. Elliott, "Estimates of Error Rates for Codes on
/// Burst-Noise Channels", 1963.
pub const GILBERT: u32 = 2;

/// Every n-th match: `shares[0]` is n.
pub const EVERY: u32 = 3;

/// The first n matches of each connection: `shares[0]` is n.
pub const FIRST: u32 = 4;

/// Whether each connection has a state of its own.
#[inline(always)]
pub const fn is_of_flows(pattern: u32) -> bool {
    pattern == FIRST
}

const NO: u64 = 1;
const YES: u64 = 2;

/// The state after a match, and whether it is hit. `drawn`: three independent numbers. A state of 0 is none yet.
#[inline(always)]
pub const fn step(
    pattern: u32,
    shares: &[u64; 4],
    threshold: u64,
    state: u64,
    drawn: [u32; 3],
) -> (u64, bool) {
    let [first, second, third] = [drawn[0] as u64, drawn[1] as u64, drawn[2] as u64];
    match pattern {
        CORRELATED => {
            let fresh = if first < threshold { YES } else { NO };
            let now = if state != 0 && second < shares[0] { state } else { fresh };
            (now, now == YES)
        }
        GILBERT => {
            let state = if state != 0 {
                state
            } else if third < threshold {
                YES
            } else {
                NO
            };
            let bad = state == YES;
            let (leave, hit) = if bad { (shares[1], shares[2]) } else { (shares[0], shares[3]) };
            let stays = second >= leave;
            (if bad == stays { YES } else { NO }, first < hit)
        }
        EVERY => {
            let count = state + 1;
            if count >= shares[0] { (0, true) } else { (count, false) }
        }
        FIRST => {
            let hit = state < shares[0];
            (if hit { state + 1 } else { state }, hit)
        }
        _ => (state, first < threshold),
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::draw::{SCALE, number, threshold};

    fn run(pattern: u32, shares: [u64; 4], threshold: u64, n: u64) -> impl Iterator<Item = bool> {
        (0..n).scan(0, move |state, i| {
            let drawn = [number(7, i, 0), number(7, i, 1), number(7, i, 2)];
            let (next, hit) = step(pattern, &shares, threshold, *state, drawn);
            *state = next;
            Some(hit)
        })
    }

    fn share(hits: impl Iterator<Item = bool>) -> f64 {
        let (mut all, mut hit) = (0u32, 0u32);
        for h in hits {
            all += 1;
            hit += u32::from(h);
        }
        f64::from(hit) / f64::from(all)
    }

    /// Within 4.42 standard deviations for as many independent draws as these correlated ones are worth.
    #[test]
    fn correlation_keeps_the_share() {
        for (p, correlation) in [(0.25, 0.25), (0.1, 0.5), (0.01, 0.25), (0.5, 0.9)] {
            let n = 2_000_000;
            let got = share(run(CORRELATED, [threshold(correlation), 0, 0, 0], threshold(p), n));
            let worth = n as f64 * (1.0 - correlation) / (1.0 + correlation);
            let slack = 4.42 * (p * (1.0 - p) / worth).sqrt();
            assert!((got - p).abs() < slack, "{p} with {correlation}: {got} +- {slack}");
        }
    }

    #[test]
    fn neighbours_correlate_as_asked() {
        let hits: Vec<f64> = run(CORRELATED, [threshold(0.3), 0, 0, 0], threshold(0.25), 1_000_000)
            .map(|hit| f64::from(u8::from(hit)) - 0.25)
            .collect();
        let variance: f64 = hits.iter().map(|x| x * x).sum();
        let lag: f64 = hits.windows(2).map(|pair| pair[0] * pair[1]).sum();
        assert!((lag / variance - 0.3).abs() < 0.01, "{}", lag / variance);
    }

    /// netem's example: p = 1 %, r = 25 % loses 3.85 % in bursts of 4.
    #[test]
    fn gilbert_loses_in_bursts() {
        let bad = 0.01 / 0.26;
        let hits: Vec<bool> =
            run(GILBERT, [threshold(0.01), threshold(0.25), SCALE, 0], threshold(bad), 4_000_000).collect();
        let lost = hits.iter().filter(|h| **h).count() as f64;
        let bursts = hits.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((lost / 4e6 - bad).abs() < 0.001, "{}", lost / 4e6);
        assert!((lost / bursts - 4.0).abs() < 0.1, "{}", lost / bursts);
    }

    #[test]
    fn counting_patterns_count() {
        let every: Vec<bool> = run(EVERY, [3, 0, 0, 0], SCALE, 7).collect();
        assert_eq!([false, false, true, false, false, true, false], every[..]);
        assert!(run(EVERY, [1, 0, 0, 0], SCALE, 5).all(|hit| hit));
        let first: Vec<bool> = run(FIRST, [2, 0, 0, 0], SCALE, 4).collect();
        assert_eq!([true, true, false, false], first[..]);
    }
}
