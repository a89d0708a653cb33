//! `delay`: how long a packet waits.

use chaos_common::{delay, draw::number, rule::Rule};

use crate::{
    lib::{
        draw::EFFECT,
        state::{self, Of},
    },
    maps::KCHAOS_QUANTILE,
};

/// In ns.
#[inline(always)]
pub fn wait(rule: &Rule, ordinal: u64) -> u64 {
    let numbers = &rule.numbers;
    let mut uniform = number(rule.seed, ordinal, EFFECT);
    if numbers[delay::CORRELATION] != 0 {
        let drawn = number(rule.seed, ordinal, EFFECT + 1);
        let fresh = uniform;
        uniform = state::of_rule(rule.counters, Of::Effect, |state| {
            delay::correlated(numbers, state, fresh, drawn)
        });
    }
    delay::of(numbers, uniform, |at| KCHAOS_QUANTILE.get(at).map_or(0, |quantile| *quantile as i32))
}
