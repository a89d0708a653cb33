//! What the rules of an experiment ask for at all, and how many they are.
//!
//! The loader writes it into the programs' read-only data before they are loaded ([`NAME`]). The verifier knows the numbers
//! and does not look at what they rule out, so an experiment that loses packets is not kept waiting for the proof that bits
//! are flipped rightly, nor one of a single rule for that of 64 rounds. What must stay true: more may be said than any rule
//! needs, never less; all tables of an experiment are made of the same faults, so that it holds for each of them.

use crate::{
    pattern::INDEPENDENT,
    reset,
    rule::{FLAG_FLOWS, FLAG_NEW_ONLY, Rule, action},
    table::{WORD_BITS, WORDS},
};

/// Name of the [`Uses`] in the programs.
pub const NAME: &str = "KCHAOS_USES";

/// What the programs must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Uses {
    /// A bit for each [`action`] by its number, and those below.
    pub what: u32,
    /// Words of clauses that are in use: 1 to [`WORDS`].
    pub words: u32,
    /// Rules that may be in one word: 1 to [`WORD_BITS`].
    pub rules: u32,
}

const _: () = assert!(action::LAST < 16, "the bits from 16 on are taken");

/// In [`Uses::what`]: draws that hang together ([`crate::pattern`]).
pub const PATTERNS: u32 = 1 << 16;
/// Likewise: a number of hits at all.
pub const LIMITS: u32 = 1 << 17;
/// Likewise: connections that are drawn for, or that must be new.
pub const FLOWS: u32 = 1 << 18;
/// Likewise: what a connection has carried, or how old it is.
pub const LIFE: u32 = 1 << 19;

#[expect(clippy::cast_possible_truncation, reason = "all are small, and what is larger is cut off at 64")]
impl Uses {
    /// Everything.
    pub const ALL: Self = Self {
        what: action::ALL | PATTERNS | LIMITS | FLOWS | LIFE,
        words: WORDS as u32,
        rules: WORD_BITS as u32,
    };

    /// What these rules ask for, whose clauses are in so many words.
    pub fn of(rules: &[Rule], words: u32) -> Self {
        Self {
            what: rules.iter().fold(0, |all, rule| all | one(rule)),
            words: words.clamp(1, Self::ALL.words),
            rules: rules.len().clamp(1, WORD_BITS) as u32,
        }
    }
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding, every bit pattern is valid.
unsafe impl aya::Pod for Uses {}

const fn one(rule: &Rule) -> u32 {
    let mut uses = 1 << (rule.action & 15);
    if rule.pattern != INDEPENDENT {
        uses |= PATTERNS;
    }
    if rule.limit != 0 {
        uses |= LIMITS;
    }
    if rule.flags & (FLAG_FLOWS | FLAG_NEW_ONLY) != 0 {
        uses |= FLOWS;
    }
    if rule.action == action::RESET && reset::looks_at_life(&rule.numbers) {
        uses |= LIFE;
    }
    uses
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    fn what(rules: &[Rule]) -> u32 {
        Uses::of(rules, 1).what
    }

    #[test]
    fn rules_ask_for_what_they_name() {
        let drop = Rule { action: action::DROP, ..Rule::default() };
        let bit = 1 << action::DROP;
        assert_eq!(bit, what(&[drop]));
        assert_eq!(bit | LIMITS, what(&[Rule { limit: 1, ..drop }]));
        assert_eq!(bit | PATTERNS, what(&[Rule { pattern: INDEPENDENT + 1, ..drop }]));
        assert_eq!(bit | FLOWS, what(&[Rule { flags: FLAG_NEW_ONLY, ..drop }]));
        assert_eq!(bit | FLOWS, what(&[drop, Rule { flags: FLAG_FLOWS, ..drop }]));
        let reset = Rule { action: action::RESET, ..Rule::default() };
        assert_eq!(bit | 1 << action::RESET, what(&[drop, reset]));
        assert_eq!(1 << action::RESET | LIFE, what(&[Rule { numbers: [1; 4], ..reset }]));
    }

    #[test]
    fn all_is_all() {
        let one = |action| Rule {
            action,
            pattern: 1,
            limit: 1,
            flags: u32::MAX,
            numbers: [1; 4],
            ..Rule::default()
        };
        let all: Vec<Rule> = (1..=action::LAST).map(one).collect();
        assert_eq!(Uses::ALL.what, what(&all));
    }

    #[test]
    fn no_loop_goes_on_for_ever_or_not_at_all() {
        let many = vec![Rule::default(); 100];
        assert_eq!((1, 1), (Uses::of(&[], 0).words, Uses::of(&[], 0).rules));
        assert_eq!((64, 64), (Uses::of(&many, 99).words, Uses::of(&many, 1).rules));
    }
}
