//! How long a packet waits: a length of time, and around it a spread by one of four distributions.
//!
//! The kernel has no floating point, so user space hands it tables of quantiles ([`POINTS`]), and a delay is drawn by
//! looking up a uniform number there. As in netem the tables are of mean 0 and standard deviation 1, and `jitter` is
//! the standard deviation; of the uniform distribution it is half the width.

/// `numbers` of a rule: the delay in ns.
pub const DELAY: usize = 0;
/// `numbers` of a rule: the jitter in ns.
pub const JITTER: usize = 1;
/// `numbers` of a rule: one of the distributions.
pub const DISTRIBUTION: usize = 2;
/// `numbers` of a rule: the probability that a packet gets the same number as the one before, on the scale of
/// [`crate::draw::SCALE`].
pub const CORRELATION: usize = 3;

/// Between delay - jitter and delay + jitter.
pub const UNIFORM: u64 = 0;
/// The bell curve.
pub const NORMAL: u64 = 1;
/// Pareto's, with the exponent 3, as netem has it: a long tail.
pub const PARETO: u64 = 2;
/// A quarter of the one and three quarters of the other, as netem has it.
pub const PARETONORMAL: u64 = 3;

/// Steps of a table of quantiles; it has one number more.
pub const POINTS: u32 = 1 << 12;
/// Numbers of all tables, one behind the other, from [`NORMAL`].
pub const TABLES: usize = 3 * (POINTS as usize + 1);
/// Bits behind the point of a number in the tables.
pub const FRACTION: u32 = 16;

/// The longest that a packet ever waits, whatever is drawn and however many delays add up: a second less than a line
/// keeps any.
pub const LONGEST_NS: u64 = crate::line::HORIZON_NS - 1_000_000_000;

/// A delay in ns. `uniform` is the number drawn; `quantile` looks one up in the tables.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "distributions are small numbers")]
pub fn of(numbers: &[u64; 4], uniform: u32, quantile: impl Fn(u32) -> i32) -> u64 {
    let (delay, jitter) = (numbers[DELAY], numbers[JITTER]);
    if jitter == 0 {
        return delay;
    }
    let distribution = numbers[DISTRIBUTION];
    let offset = if distribution == UNIFORM {
        (i64::from(uniform) - (1 << 31)) >> (31 - FRACTION)
    } else {
        let at = (distribution as u32 - 1) * (POINTS + 1) + (uniform >> 20);
        let (low, high) = (i64::from(quantile(at)), i64::from(quantile(at + 1)));
        low + (((high - low) * i64::from(uniform & 0xf_ffff)) >> 20)
    };
    let wait = (delay.cast_signed()).wrapping_add((jitter.cast_signed()).wrapping_mul(offset) >> FRACTION);
    if wait < 0 { 0 } else { wait.cast_unsigned().min(LONGEST_NS) }
}

/// Whether a state holds a number.
const KNOWN: u64 = 1 << 32;

/// The number to use, and the state after it: with the probability of `CORRELATION` that of the packet before.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half of a state is the number")]
pub const fn correlated(numbers: &[u64; 4], state: u64, fresh: u32, drawn: u32) -> (u64, u32) {
    let again = state & KNOWN != 0 && (drawn as u64) < numbers[CORRELATION];
    let now = if again { state as u32 } else { fresh };
    (now as u64 | KNOWN, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{number, threshold};

    fn none(_: u32) -> i32 {
        unreachable!("no table is needed")
    }

    #[test]
    fn without_jitter_it_is_what_was_asked_for() {
        assert_eq!(100_000, of(&[100_000, 0, NORMAL, 0], 17, none));
    }

    #[test]
    fn uniform_fills_its_width() {
        let numbers = [1_000_000, 500_000, UNIFORM, 0];
        assert_eq!(500_000, of(&numbers, 0, none));
        assert_eq!(1_000_000, of(&numbers, 1 << 31, none));
        let most = of(&numbers, u32::MAX, none);
        assert!((1_499_980..1_500_000).contains(&most), "{most}");
    }

    #[test]
    fn tables_are_read_between_their_points() {
        // A straight line from -4 to 4.
        let line = |at: u32| -> i32 { (at.cast_signed() * 8 - 4 * 4096) * 16 };
        let numbers = [10_000_000, 1_000_000, NORMAL, 0];
        for (uniform, expected) in
            [(0, 6_000_000), (1 << 30, 8_000_000), (1 << 31, 10_000_000), (3 << 30, 12_000_000)]
        {
            let got = of(&numbers, uniform, line);
            assert!(got.abs_diff(expected) < 200, "{uniform}: {got}");
        }
        assert_eq!(0, of(&[1_000_000, 1_000_000, NORMAL, 0], 0, line), "never below zero");
    }

    #[test]
    fn correlation_repeats_a_number_as_often_as_asked() {
        let numbers = [0, 1, UNIFORM, threshold(0.4)];
        let (mut state, mut last, mut repeated) = (0, None, 0);
        for i in 0..100_000 {
            let (next, now) = correlated(&numbers, state, number(3, i, 0), number(3, i, 1));
            repeated += u32::from(last == Some(now));
            (state, last) = (next, Some(now));
        }
        assert!((39_300..40_700).contains(&repeated), "{repeated}");
    }
}
