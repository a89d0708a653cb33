//! What a rule asks for, held against what the kernel counted.
//!
//! Draws that hang together say less than as many independent ones: where neighbours correlate by c, n of them are worth
//! n (1 - c) / (1 + c) in the long run (the variance of a mean of a Markov chain). The interval is made for so many.

use chaos_common::{
    draw::SCALE,
    pattern::{CORRELATED, EVERY, FIRST, GILBERT},
    rule::Rule,
};

use super::interval::interval_of;
use crate::config::{FaultSpec, value::Share};

/// Asked against done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Asked {
    /// The share that was asked for, 0 to 1; `None` where a share is not what was asked for.
    pub share: Option<f64>,
    /// The 99.9 % confidence interval of the true share; `None` without draws, and where there is nothing to be unsure of.
    pub interval: Option<(f64, f64)>,
    /// Whether it was done as asked; `None` where nobody can tell.
    pub done: Option<bool>,
}

/// Holds what a rule asks for against `hits` of `draws`.
pub fn compare(rule: &Rule, hits: u64, draws: u64) -> Asked {
    match rule.pattern {
        EVERY => {
            let nth = rule.shares[0].max(1);
            Asked {
                share: Some(1.0 / nth as f64),
                interval: None,
                done: (draws > 0).then(|| hits == draws / nth),
            }
        }
        // As many of each connection as it has: nobody has counted the connections.
        FIRST => Asked::default(),
        _ => {
            let (share, correlation) = (long_run(rule), correlation(rule));
            let worth = (1.0 - correlation) / (1.0 + correlation);
            let interval = interval_of(hits as f64 * worth, draws as f64 * worth);
            let done = interval.map(|(low, high)| low <= share && share <= high);
            Asked { share: Some(share), interval, done }
        }
    }
}

/// The share that a fault asks for in the long run, 0 to 1. One that hits the first of each connection asks for all of
/// some.
pub fn asked_share(spec: &FaultSpec) -> f64 {
    let flows = spec.side.packets.flows.map_or(1.0, Share::fraction);
    let mut rule = Rule { threshold: spec.probability.threshold(), ..Rule::default() };
    spec.fault.encode(&mut rule);
    compare(&rule, 0, 0).share.unwrap_or(1.0) * flows
}

/// The share that is hit in the long run, 0 to 1.
fn long_run(rule: &Rule) -> f64 {
    let part = |threshold: u64| threshold as f64 / SCALE as f64;
    if rule.pattern != GILBERT {
        return part(rule.threshold);
    }
    let [_, _, in_bad, in_good] = rule.shares.map(part);
    let bad = bad(rule);
    bad * in_bad + (1.0 - bad) * in_good
}

/// The share of time that is bad, by the chances to come and to go.
fn bad(rule: &Rule) -> f64 {
    let [to_bad, to_good, ..] = rule.shares.map(|share| share as f64);
    let both = to_bad + to_good;
    if both > 0.0 { to_bad / both } else { 0.0 }
}

/// By how much a draw hangs on the one before, 0 to 1. Draws that avoid each other are worth more than independent ones;
/// that is not counted on.
fn correlation(rule: &Rule) -> f64 {
    let part = |share: u64| share as f64 / SCALE as f64;
    match rule.pattern {
        CORRELATED => part(rule.shares[0]),
        // Of the state; of the hits it is no more.
        GILBERT => (1.0 - part(rule.shares[0]) - part(rule.shares[1])).max(0.0),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        draw::{number, threshold},
        pattern::step,
    };

    use super::*;

    fn gilbert(to_bad: f64, to_good: f64, in_bad: f64, in_good: f64) -> Rule {
        Rule {
            pattern: GILBERT,
            threshold: threshold(to_bad / (to_bad + to_good)),
            shares: [to_bad, to_good, in_bad, in_good].map(threshold),
            ..Rule::default()
        }
    }

    fn correlated(share: f64, correlation: f64) -> Rule {
        let shares = [threshold(correlation), 0, 0, 0];
        Rule { pattern: CORRELATED, threshold: threshold(share), shares, ..Rule::default() }
    }

    fn hits(rule: &Rule, seed: u64, matches: u64) -> u64 {
        let mut state = 0;
        (0..matches).fold(0, |hits, n| {
            let drawn = [0, 1, 2].map(|stream| number(seed, n, stream));
            let (next, hit) = step(rule.pattern, &rule.shares, rule.threshold, state, drawn);
            state = next;
            hits + u64::from(hit)
        })
    }

    #[test]
    fn the_share_is_that_of_the_long_run() {
        let close = |rule: &Rule, share: f64| {
            let asked = compare(rule, 0, 0).share.unwrap();
            assert!((asked - share).abs() < 1e-6, "{asked} {share}");
        };
        close(&Rule { threshold: threshold(0.1), ..Rule::default() }, 0.1);
        close(&correlated(0.25, 0.5), 0.25);
        close(&gilbert(0.01, 0.25, 1.0, 0.0), 0.01 / 0.26);
        close(&gilbert(0.1, 0.3, 0.5, 0.02), 0.25 * 0.5 + 0.75 * 0.02);
    }

    /// A 99.9 % interval misses what is true once in a thousand runs: of 600 runs hardly more than three.
    #[test]
    fn the_interval_holds_for_draws_that_hang_together() {
        for rule in [
            correlated(0.1, 0.5),
            correlated(0.02, 0.9),
            gilbert(0.013, 0.25, 1.0, 0.0),
            gilbert(0.05, 0.1, 0.7, 0.01),
            gilbert(0.9, 0.9, 1.0, 0.0),
        ] {
            let draws = 6_000;
            let missed = (0..600)
                .filter(|seed| compare(&rule, hits(&rule, seed * 977 + 1, draws), draws).done != Some(true))
                .count();
            assert!(missed <= 3, "{missed} of 600: {rule:?}");
        }
    }

    /// What an interval for independent draws would have said of them.
    #[test]
    fn it_is_wider_than_for_independent_draws() {
        let wide = compare(&gilbert(0.01, 0.25, 1.0, 0.0), 400, 10_000).interval.unwrap();
        let narrow = interval_of(400.0, 10_000.0).unwrap();
        assert!(wide.1 - wide.0 > 2.0 * (narrow.1 - narrow.0), "{wide:?} {narrow:?}");
    }

    #[test]
    fn counts_are_exact_or_not_comparable() {
        let every = Rule { pattern: EVERY, shares: [10, 0, 0, 0], threshold: SCALE, ..Rule::default() };
        assert_eq!(
            Asked { share: Some(0.1), interval: None, done: Some(true) },
            compare(&every, 4, 49),
            "the tenth, twentieth, ..."
        );
        assert_eq!(Some(false), compare(&every, 5, 49).done);
        assert_eq!(None, compare(&every, 0, 0).done);
        let first = Rule { pattern: FIRST, shares: [3, 0, 0, 0], threshold: SCALE, ..Rule::default() };
        assert_eq!(Asked::default(), compare(&first, 3, 10));
    }
}
