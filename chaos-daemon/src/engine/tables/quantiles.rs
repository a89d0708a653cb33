//! The distributions of delays as tables of quantiles, which is how the kernel draws from them
//! (`chaos_common::delay`).
//!
//! A table has a number for each of 4,097 equally spaced probabilities, and what lies between two of them is read off the
//! straight line. At 0 and 1 the quantiles are infinite, so both ends are *cut*: the first and the last number are the
//! quantiles a thirteenth of a step further in, at 1/53,248. It is that because the last straight line of Pareto's tail,
//! from 16 to 38 times the least, then spreads as much as the tail itself does. The longest delay is therefore
//! delay + 42 x jitter with `pareto` and + 34.5 x with `paretonormal`, one in some hundred thousand packets; with `normal` it
//! is + 4 x. (netem's tables end at 4 for all of them.)
//!
//! What is drawn along the straight lines is then brought to mean 0 and standard deviation 1, which takes less than one
//! part in a hundred.

use chaos_common::delay::{FRACTION, POINTS};
use statrs::distribution::{ContinuousCDF, Normal, Pareto};

/// How far in the ends are cut, in steps.
const CUT: f64 = 1.0 / 13.0;

/// The exponent of Pareto's distribution, netem's.
const EXPONENT: f64 = 3.0;

/// The numbers of all tables, `chaos_common::delay::TABLES` of them, in the order of `chaos_common::delay`: normal, pareto, paretonormal.
/// Each has `FRACTION` bits behind its point.
pub fn quantiles() -> Vec<i32> {
    curves().into_iter().flat_map(standard).map(scaled).collect()
}

/// The quantiles at all points, before they are brought to scale. A distribution that does not exist is one without
/// spread: its parameters are constants, which the tests try out.
fn curves() -> [Vec<f64>; 3] {
    let normal: Vec<f64> =
        points().map(|p| Normal::new(0.0, 1.0).map_or(0.0, |normal| normal.inverse_cdf(p))).collect();
    let pareto: Vec<f64> =
        points().map(|p| Pareto::new(1.0, EXPONENT).map_or(0.0, |pareto| pareto.inverse_cdf(p))).collect();
    let (normal, pareto) = (standard(normal), standard(pareto));
    // By quantiles, as netem does it: both are low together and high together.
    let mixed = normal.iter().zip(&pareto).map(|(normal, pareto)| 0.25 * normal + 0.75 * pareto).collect();
    [normal, pareto, mixed]
}

/// The probabilities of a table, its ends cut.
fn points() -> impl Iterator<Item = f64> {
    let steps = f64::from(POINTS);
    (0..=POINTS).map(move |point| f64::from(point).clamp(CUT, steps - CUT) / steps)
}

/// Brings what is drawn along the straight lines between the points to mean 0 and standard deviation 1.
fn standard(mut curve: Vec<f64>) -> Vec<f64> {
    let (mean, deviation) = moments(&curve);
    for quantile in &mut curve {
        *quantile = (*quantile - mean) / deviation;
    }
    curve
}

/// Mean and standard deviation of what is drawn along straight lines between equally likely points.
fn moments(curve: &[f64]) -> (f64, f64) {
    let lines = || curve.windows(2).filter_map(|ends| <[f64; 2]>::try_from(ends).ok());
    let steps = curve.len().saturating_sub(1).max(1) as f64;
    let mean = lines().map(|[low, high]| f64::midpoint(low, high)).sum::<f64>() / steps;
    let of_square = |low: f64, high: f64| (low * low + low * high + high * high) / 3.0;
    let variance = lines().map(|[low, high]| of_square(low - mean, high - mean)).sum::<f64>() / steps;
    (mean, variance.sqrt())
}

#[expect(clippy::cast_possible_truncation, reason = "some dozens, with 16 bits behind the point")]
fn scaled(quantile: f64) -> i32 {
    (quantile * f64::from(1u32 << FRACTION)).round() as i32
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        delay::{NORMAL, PARETO, PARETONORMAL, TABLES, of},
        draw::number,
    };

    use super::*;

    const ALL: [u64; 3] = [NORMAL, PARETO, PARETONORMAL];

    fn table(distribution: u64) -> Vec<f64> {
        let length = POINTS as usize + 1;
        let start = usize::try_from(distribution - 1).unwrap() * length;
        let numbers = &quantiles()[start..start + length];
        numbers.iter().map(|n| f64::from(*n) / f64::from(1u32 << FRACTION)).collect()
    }

    /// The true quantile of the distribution at mean 0 and standard deviation 1.
    fn quantile(distribution: u64, p: f64) -> f64 {
        let normal = Normal::new(0.0, 1.0).unwrap().inverse_cdf(p);
        // Mean 3/2 and variance 3/4.
        let pareto = (Pareto::new(1.0, 3.0).unwrap().inverse_cdf(p) - 1.5) / 0.75f64.sqrt();
        match distribution {
            NORMAL => normal,
            PARETO => pareto,
            _ => (0.25 * normal + 0.75 * pareto) / mixed_deviation(),
        }
    }

    /// Both parts have the variance 1, so only how they go together is to be found out: by the midpoints of many steps.
    fn mixed_deviation() -> f64 {
        const STEPS: u32 = 1 << 16;
        let together: f64 = (0..STEPS)
            .map(|step| (f64::from(step) + 0.5) / f64::from(STEPS))
            .map(|p| quantile(NORMAL, p) * quantile(PARETO, p))
            .sum();
        (0.0625 + 0.5625 + 2.0 * 0.25 * 0.75 * together / f64::from(STEPS)).sqrt()
    }

    #[test]
    fn tables_have_mean_0_and_deviation_1() {
        assert_eq!(TABLES, quantiles().len());
        for distribution in ALL {
            let table = table(distribution);
            let (mean, deviation) = moments(&table);
            assert!(
                mean.abs() < 1e-4 && (deviation - 1.0).abs() < 1e-4,
                "{distribution}: {mean} {deviation}"
            );
            assert!(table.windows(2).all(|ends| ends[0] <= ends[1]), "{distribution} goes back");
        }
    }

    /// Rescaling changes little, so that the numbers are those of the distribution itself.
    #[test]
    fn tables_are_the_true_quantiles() {
        for distribution in ALL {
            let deviation = if distribution == PARETONORMAL { mixed_deviation() } else { 1.0 };
            let table = table(distribution);
            for point in [1, 2, 41, 410, 1024, 2048, 3072, 3686, 4055, 4094, 4095u32] {
                let p = f64::from(point) / f64::from(POINTS);
                let (got, wanted) = (table[point as usize], quantile_of(distribution, p, deviation));
                let slack = 0.01 * wanted.abs().max(0.5);
                assert!((got - wanted).abs() < slack, "{distribution} at {p}: {got}, not {wanted}");
            }
        }
    }

    fn quantile_of(distribution: u64, p: f64, deviation: f64) -> f64 {
        match distribution {
            PARETONORMAL => (0.25 * quantile(NORMAL, p) + 0.75 * quantile(PARETO, p)) / deviation,
            other => quantile(other, p),
        }
    }

    #[test]
    fn ends_are_what_is_documented() {
        let ends = ALL.map(|distribution| {
            let table = table(distribution);
            (table[0], table[POINTS as usize])
        });
        assert!((ends[0].0 + ends[0].1).abs() < 1e-3 && (4.0..4.3).contains(&ends[0].1), "{ends:?}");
        assert!((-0.6..-0.55).contains(&ends[1].0) && (41.0..42.0).contains(&ends[1].1), "{ends:?}");
        assert!((-2.0..-1.0).contains(&ends[2].0) && (34.0..35.0).contains(&ends[2].1), "{ends:?}");
    }

    /// As the kernel draws: the largest distance between how many are below a quantile and how many should be
    /// (Kolmogorov and Smirnov). For 100,000 draws it stays below 0.0078 in all but one of 100,000 cases; the seed is
    /// fixed.
    #[test]
    fn what_is_drawn_is_distributed_so() {
        const DRAWS: u32 = 100_000;
        const SECOND: u64 = 1_000_000_000;
        let tables = quantiles();
        for distribution in ALL {
            let numbers = [SECOND, SECOND / 100, distribution, 0];
            let mut drawn: Vec<f64> = (0..DRAWS)
                .map(|n| {
                    let uniform = number(distribution, u64::from(n), 0);
                    let wait = of(&numbers, uniform, |at| tables[at as usize]);
                    (wait as f64 - SECOND as f64) / (SECOND as f64 / 100.0)
                })
                .collect();
            drawn.sort_by(f64::total_cmp);
            let deviation = mixed_deviation();
            let distance = (1..2000)
                .map(|step| f64::from(step) / 2000.0)
                .map(|p| {
                    let below = drawn.partition_point(|x| *x < quantile_of(distribution, p, deviation));
                    (below as f64 / f64::from(DRAWS) - p).abs()
                })
                .fold(0.0, f64::max);
            assert!(distance < 0.0078, "{distribution}: {distance}");
        }
    }
}
