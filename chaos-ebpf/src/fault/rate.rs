//! `rate`: how long a packet waits for its turn.

use chaos_common::{
    rate::{self, OF_FLOW, SHARED},
    rule::Rule,
};

use crate::lib::state::{self, Of};

/// In ns, for a packet of so many bytes that comes at `now`.
#[inline(always)]
pub fn wait(rule: &Rule, flow: u64, now: u64, bytes: u32) -> u64 {
    let (numbers, bytes) = (&rule.numbers, u64::from(bytes));
    if numbers[SHARED] == OF_FLOW {
        return state::of_flow(rule.counters, flow, |state| rate::take(numbers, state, now, bytes));
    }
    // Not under the lock, where nothing may be called.
    let takes = rate::takes(bytes, numbers[rate::RATE]);
    state::of_rule(rule.counters, Of::Effect, |state| rate::pass(numbers, state, now, takes))
}

/// Gives back what a packet has taken that did not fit the line: otherwise the bucket would run away under a load that
/// is too much for it.
#[inline(always)]
pub fn give_back(rule: &Rule, flow: u64, bytes: u32) {
    let numbers = &rule.numbers;
    let takes = rate::takes(u64::from(bytes), numbers[rate::RATE]);
    if numbers[SHARED] == OF_FLOW {
        state::of_flow(rule.counters, flow, |state| (rate::give_back(state, takes), ()));
    } else {
        state::of_rule(rule.counters, Of::Effect, |state| (rate::give_back(state, takes), ()));
    }
}
