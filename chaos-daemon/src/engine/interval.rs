//! What a count of hits says about the true share: the Clopper-Pearson interval.

use statrs::distribution::{Beta, ContinuousCDF};

/// How sure the interval is: 99.9 %.
const CONFIDENCE: f64 = 0.999;

/// The exact two-sided 99.9 % interval of a share after `hits` of `draws` (C. J. Clopper, E. S. Pearson, Biometrika 26,
/// 1934). `None` without draws: nothing is known.
pub fn interval(hits: u64, draws: u64) -> Option<(f64, f64)> {
    interval_of(hits as f64, draws as f64)
}

/// The same of draws that are worth another number of independent ones, which need not be whole.
pub fn interval_of(hits: f64, draws: f64) -> Option<(f64, f64)> {
    if draws <= 0.0 || hits > draws {
        return None;
    }
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let misses = draws - hits;
    let low = if hits <= 0.0 { 0.0 } else { Beta::new(hits, misses + 1.0).ok()?.inverse_cdf(tail) };
    let high = if misses <= 0.0 { 1.0 } else { Beta::new(hits + 1.0, misses).ok()?.inverse_cdf(1.0 - tail) };
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::interval;

    /// The closed forms at the ends, and the normal approximation where it is good.
    #[test]
    fn agrees_with_what_is_known() {
        let close = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 2e-4 && (a.1 - b.1).abs() < 2e-4;
        // No hit in n: high = 1 - 0.0005^(1/n). All hits: low = 0.0005^(1/n).
        let all_or_none = 0.0005f64.powf(1.0 / 1000.0);
        assert!(close(interval(0, 1000).unwrap(), (0.0, 1.0 - all_or_none)));
        assert!(close(interval(1000, 1000).unwrap(), (all_or_none, 1.0)));
        // Large n: close to p +- 3.2905 * sqrt(p q / n).
        let wide = 3.2905 * (0.1f64 * 0.9 / 20_000.0).sqrt();
        assert!(close(interval(2000, 20_000).unwrap(), (0.1 - wide, 0.1 + wide)));
    }

    #[test]
    fn nothing_is_known_without_draws() {
        assert_eq!(None, interval(0, 0));
    }
}
