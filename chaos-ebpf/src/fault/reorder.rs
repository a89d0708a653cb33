//! `reorder`: how long a packet is held back, while others of its connection overtake it.

use chaos_common::rule::Rule;

/// In ns.
#[inline(always)]
pub const fn wait(rule: &Rule) -> u64 {
    rule.numbers[0]
}
