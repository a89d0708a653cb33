//! How well what was measured fits what was asked for.
//!
//! Each test answers with the probability that something at least as far off comes out where all is as asked. What is
//! right fails one run in a thousand at [`SIGNIFICANCE`]; what is wrong fails them all once there are enough values.

use statrs::distribution::{ChiSquared, ContinuousCDF as _};

/// Below this probability it is not what was asked for.
pub const SIGNIFICANCE: f64 = 0.001;

/// What a test found.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// How far off, as the test counts it.
    pub off: f64,
    /// The probability of that or more by chance.
    pub p: f64,
}

impl Fit {
    /// Whether chance explains it.
    pub fn good(self) -> bool {
        self.p >= SIGNIFICANCE
    }
}

/// The value below which a share of the values lies, `share` from 0 to 1.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1).expect("a percentile of something");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of this list")]
    let at = (share * last as f64).round() as usize;
    sorted[at.min(last)]
}

/// Kolmogorov and Smirnov's test of values against a continuous distribution, by its asymptotic probability with M. A.
/// Stephens' correction for few values ("EDF Statistics for Goodness of Fit", 1974).
pub fn kolmogorov_smirnov(values: &[f64], distribution: impl Fn(f64) -> f64) -> Fit {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let off = sorted.iter().enumerate().fold(0.0f64, |off, (i, value)| {
        let (expected, below) = (distribution(*value), i as f64 / n);
        off.max(expected - below).max(below + 1.0 / n - expected)
    });
    let root = n.sqrt();
    Fit { off, p: kolmogorov((root + 0.12 + 0.11 / root) * off) }
}

/// The probability of more than `x` by Kolmogorov's distribution.
fn kolmogorov(x: f64) -> f64 {
    // The sum needs ever more terms towards 0, where its value is 1 to more digits than anyone reads.
    if x < 0.2 {
        return 1.0;
    }
    let terms = (1..=100).map(|k: i32| {
        let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(k * k) * x * x).exp()
    });
    terms.sum::<f64>().clamp(0.0, 1.0)
}

/// Pearson's test of counts against those expected, which may be fractions but must sum to as much.
pub fn chi_square(observed: &[f64], expected: &[f64]) -> Fit {
    assert_eq!(observed.len(), expected.len());
    let off = observed.iter().zip(expected).map(|(o, e)| (o - e).powi(2) / e).sum();
    let freedom = observed.len().checked_sub(1).expect("counts of something") as f64;
    let p = ChiSquared::new(freedom).expect("two counts at least").sf(off);
    Fit { off, p }
}

/// The least that a class of [`chi_square`] should be expected to hold.
const CLASS: f64 = 5.0;

/// Whether lengths from 1 on are geometric: after each the next ends it with the probability `end`. The long ones are
/// one class.
pub fn geometric(lengths: &[u64], end: f64) -> Fit {
    let n = lengths.len() as f64;
    let (mut observed, mut expected) = (Vec::new(), Vec::new());
    let mut beyond = n;
    // What lies beyond a class must be enough for one, too.
    while beyond * end >= CLASS && beyond * (1.0 - end) >= CLASS {
        let length = observed.len() as u64 + 1;
        observed.push(lengths.iter().filter(|l| **l == length).count() as f64);
        expected.push(beyond * end);
        beyond *= 1.0 - end;
    }
    let seen: f64 = observed.iter().sum();
    observed.push(n - seen);
    expected.push(beyond);
    chi_square(&observed, &expected)
}

/// How many of `count` numbered from 0 are missing in a row, each time; what is cut off at either end is not known in
/// full and left out. `present` in any order.
pub fn gaps(present: &[u64], count: u64) -> Vec<u64> {
    let mut sorted: Vec<u64> = present.iter().copied().filter(|n| *n < count).collect();
    sorted.sort_unstable();
    sorted.windows(2).map(|pair| (pair[1] - pair[0]).saturating_sub(1)).filter(|gap| *gap > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_list() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        for (share, expected) in [(0.0, 1.0f64), (0.5, 3.0), (0.99, 5.0), (1.0, 5.0)] {
            assert_eq!(expected.to_bits(), percentile(&values, share).to_bits(), "{share}");
        }
    }

    /// From the tables of the distribution.
    #[test]
    fn kolmogorovs_distribution_is_that_of_the_tables() {
        for (x, p) in [(1.2238, 0.1), (1.3581, 0.05), (1.6276, 0.01), (1.9495, 0.001)] {
            assert!((kolmogorov(x) / p - 1.0).abs() < 0.002, "{x}: {} for {p}", kolmogorov(x));
        }
        assert!((kolmogorov(0.2) - 1.0).abs() < 1e-9 && kolmogorov(0.1).to_bits() == 1.0f64.to_bits());
    }

    #[test]
    fn the_largest_distance_is_found_on_either_side() {
        let uniform = |x: f64| x.clamp(0.0, 1.0);
        assert!((kolmogorov_smirnov(&[0.7, 0.1, 0.4], uniform).off - 0.3).abs() < 1e-12);
        assert!((kolmogorov_smirnov(&[0.9, 0.6, 0.3], uniform).off - 0.3).abs() < 1e-12);
    }

    #[test]
    fn values_of_another_distribution_are_refused() {
        let even: Vec<f64> = (0..10_000).map(|i| (f64::from(i) + 0.5) / 10_000.0).collect();
        let uniform = |x: f64| x.clamp(0.0, 1.0);
        assert!(kolmogorov_smirnov(&even, uniform).good());
        let shifted: Vec<f64> = even.iter().map(|x| x + 0.03).collect();
        assert!(!kolmogorov_smirnov(&shifted, uniform).good());
        let narrow: Vec<f64> = even.iter().map(|x| 0.5 + (x - 0.5) * 0.9).collect();
        assert!(!kolmogorov_smirnov(&narrow, uniform).good());
    }

    /// The example of `SciPy`'s documentation.
    #[test]
    fn chi_square_is_as_worked_out_elsewhere() {
        let expected = [16.0, 16.0, 16.0, 16.0, 16.0, 8.0];
        let fit = chi_square(&[16.0, 18.0, 16.0, 14.0, 12.0, 12.0], &expected);
        assert!((fit.off - 3.5).abs() < 1e-12, "{fit:?}");
        assert!((fit.p - 0.623_387_63).abs() < 1e-6, "{fit:?}");
        // Its 99.9 % point for one degree of freedom is 10.828.
        let fit = chi_square(&[50.0 + 10.828f64.sqrt() * 5.0, 50.0 - 10.828f64.sqrt() * 5.0], &[50.0; 2]);
        assert!((fit.p - 0.001).abs() < 1e-6, "{fit:?}");
    }

    #[test]
    fn lengths_are_geometric_or_not() {
        // As many of each length as expected, of 4,000 with an end of 1 in 4.
        let lengths = |end: f64| -> Vec<u64> {
            (1..40)
                .flat_map(|length: i32| {
                    let count = 4000.0 * end * (1.0 - end).powi(length - 1);
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a small count"
                    )]
                    std::iter::repeat_n(u64::from(length.unsigned_abs()), count.round() as usize)
                })
                .collect()
        };
        assert!(geometric(&lengths(0.25), 0.25).good());
        assert!(!geometric(&lengths(0.3), 0.25).good());
        assert!(!geometric(&[4; 100], 0.25).good());
    }

    #[test]
    fn gaps_are_those_between_what_is_there() {
        assert_eq!(vec![1, 3], gaps(&[2, 3, 5, 9], 12));
        assert!(gaps(&[], 5).is_empty());
        assert_eq!(vec![2], gaps(&[4, 1, 900], 6), "what never was is left out");
    }
}
