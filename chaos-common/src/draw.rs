//! The draw: whether one matched packet or call is hit.
//!
//! A draw is a hash of the rule's seed and the ordinal of the match, compared with a threshold on a scale of 2^32.
//! There is no state to correlate successive draws, no modulo bias, and the ends are exact: threshold 0 never hits,
//! 2^32 always hits. The same seed and the same ordinals give the same decisions.
//!
//! The hash is the output function of `SplitMix64` (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
//! Generators", OOPSLA 2014), which is a bijection of its 64-bit input: distinct ordinals never collide.

/// The scale of a threshold: 100 % is this value.
pub const SCALE: u64 = 1 << 32;

/// The smallest probability above 0 that the scale can tell from 0, as a fraction.
pub const SMALLEST: f64 = 1.0 / SCALE as f64;

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// `SplitMix64`'s finalizer.
#[inline(always)]
pub const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The seed of one rule, from the seed of the experiment and the rule's position: rules draw independently.
#[inline(always)]
pub const fn rule_seed(experiment_seed: u64, rule: u32) -> u64 {
    mix(experiment_seed.wrapping_add(GOLDEN_GAMMA.wrapping_mul(rule as u64 + 1)))
}

/// The ordinal of a match, unique over all CPUs without sharing a counter between them: the CPU in the upper 16 bits,
/// how many matches this CPU has seen before in the lower 48.
#[inline(always)]
pub const fn ordinal(cpu: u32, seen: u64) -> u64 {
    (cpu as u64) << 48 | (seen & 0xffff_ffff_ffff)
}

/// Whether the match with this ordinal is hit. `threshold` is on the scale of [`SCALE`].
#[inline(always)]
pub const fn hit(seed: u64, ordinal: u64, threshold: u64) -> bool {
    let drawn = mix(seed.wrapping_add(ordinal.wrapping_mul(GOLDEN_GAMMA))) >> 32;
    drawn < threshold
}

/// One of several independent numbers for the match with this ordinal; which one is said by `stream`.
#[inline(always)]
pub const fn number(seed: u64, ordinal: u64, stream: u64) -> u32 {
    // Another sequence than that of [`hit`]: an odd constant of its own for every stream.
    let key = seed ^ (stream + 1).wrapping_mul(0xd1b5_4a32_d192_ed03);
    (mix(mix(key).wrapping_add(ordinal.wrapping_mul(GOLDEN_GAMMA))) >> 32) as u32
}

/// The threshold of a probability between 0 and 1, to the nearest step of 2^-32. What is above 0 never becomes 0, and
/// what is below 1 never becomes 1. Values outside 0..=1 (and NaN) are clamped; the caller has refused them before.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=2^32 first")]
pub fn threshold(probability: f64) -> u64 {
    if probability.is_nan() || probability <= 0.0 {
        return 0;
    }
    if probability >= 1.0 {
        return SCALE;
    }
    ((probability * SCALE as f64 + 0.5) as u64).clamp(1, SCALE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hits(probability: f64, seed: u64, draws: u64) -> u64 {
        let threshold = threshold(probability);
        (0..draws).filter(|&n| hit(seed, ordinal((n % 4) as u32, n / 4), threshold)).count() as u64
    }

    #[test]
    fn ends_are_exact() {
        for seed in 0..64 {
            assert_eq!(0, hits(0.0, seed, 10_000));
            assert_eq!(10_000, hits(1.0, seed, 10_000));
        }
    }

    /// The count of hits lies within 4.42 standard deviations (a two-sided 99.999 % interval; the seeds are fixed, so
    /// this either always passes or always fails).
    #[test]
    fn shares_are_right_down_to_a_hundredth_of_a_percent() {
        for (seed, p) in [(1, 0.0001), (2, 0.001), (3, 0.1), (4, 0.25), (5, 0.5), (6, 0.9999)] {
            let draws = 4_000_000;
            let expected = p * draws as f64;
            let slack = 4.42 * (draws as f64 * p * (1.0 - p)).sqrt();
            let got = hits(p, seed, draws) as f64;
            assert!((got - expected).abs() <= slack, "p={p}: {got} hits, expected {expected} +- {slack}");
        }
    }

    /// Successive draws are independent: the count of hits that follow a hit is what chance gives.
    #[test]
    fn successive_draws_do_not_correlate() {
        let t = threshold(0.25);
        let pairs = (0..1_000_000u64).filter(|&n| hit(9, n, t) && hit(9, n + 1, t)).count() as f64;
        let (n, p) = (1_000_000.0f64, 0.0625f64);
        assert!((pairs - n * p).abs() <= 4.42 * (n * p * (1.0 - p)).sqrt(), "{pairs} pairs");
    }

    #[test]
    fn rules_draw_independently() {
        let t = threshold(0.5);
        let (a, b) = (rule_seed(42, 0), rule_seed(42, 1));
        let same = (0..100_000u64).filter(|&n| hit(a, n, t) == hit(b, n, t)).count() as f64;
        assert!((same - 50_000.0).abs() <= 4.42 * (100_000.0f64 * 0.25).sqrt(), "{same} equal");
    }

    /// "The same seed draws the same faults again" is a promise across versions: these are the draws of version 0.1.
    #[test]
    fn draws_stay_what_they_were() {
        let t = threshold(0.5);
        let draws: u64 = (0..64).map(|n| u64::from(hit(rule_seed(42, 0), ordinal(0, n), t)) << n).sum();
        assert_eq!(0x986c_c214_0114_72da, draws, "{draws:#x}");
    }

    proptest! {
        #[test]
        fn threshold_is_monotonic_and_near(a in 0.0..=1.0f64, b in 0.0..=1.0f64) {
            if a <= b { prop_assert!(threshold(a) <= threshold(b)); }
            prop_assert!((threshold(a) as f64 / SCALE as f64 - a).abs() <= SMALLEST);
        }

        #[test]
        fn a_higher_threshold_hits_whatever_a_lower_one_hit(seed: u64, n: u64, a in 0.0..=1.0f64, b in 0.0..=1.0f64) {
            let (low, high) = if a <= b { (a, b) } else { (b, a) };
            if hit(seed, n, threshold(low)) { prop_assert!(hit(seed, n, threshold(high))); }
        }
    }

    #[test]
    fn nothing_above_zero_becomes_zero() {
        assert_eq!(1, threshold(f64::MIN_POSITIVE));
        assert_eq!(SCALE - 1, threshold(1.0 - f64::EPSILON));
        assert_eq!(0, threshold(f64::NAN));
    }
}
