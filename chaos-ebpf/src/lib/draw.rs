//! Whether a match is hit: a draw of its own, or by the rule's pattern.

use chaos_common::{
    draw,
    pattern::{self, INDEPENDENT},
    rule::Rule,
    uses,
};

use super::{
    kern,
    state::{self, Of},
};

/// Streams of random numbers of one match; the effects have others.
const PATTERN: u64 = 0;

/// The same for the number of bits and delays.
pub const EFFECT: u64 = 3;

/// Whether the match with this ordinal is hit.
#[inline(always)]
pub fn hits(rule: &Rule, ordinal: u64, flow: u64) -> bool {
    let pattern = rule.pattern;
    if !kern::uses(uses::PATTERNS) || pattern == INDEPENDENT {
        return draw::hit(rule.seed, ordinal, rule.threshold);
    }
    let number = |stream| draw::number(rule.seed, ordinal, PATTERN + stream);
    let drawn = [number(0), number(1), number(2)];
    let (shares, threshold) = (&rule.shares, rule.threshold);
    if pattern::is_of_flows(pattern) {
        return state::of_flow(rule.counters, flow, |state| {
            pattern::step(pattern, shares, threshold, state, drawn)
        });
    }
    state::of_rule(rule.counters, Of::Pattern, |state| {
        pattern::step(pattern, shares, threshold, state, drawn)
    })
}

/// Whether the rule has not hit as often yet as it may at all; if so, it has once more.
#[inline(always)]
pub fn is_within(rule: &Rule) -> bool {
    let limit = rule.limit;
    state::of_rule(
        rule.counters,
        Of::Hits,
        |hits| if hits < limit { (hits + 1, true) } else { (hits, false) },
    )
}
