//! The distributions of delays, as they are asked for: what is measured is compared with these.
//!
//! They are worked out here from their formulas and not from the product's tables, so that a mistake in those is seen.

use std::sync::LazyLock;

use statrs::distribution::{ContinuousCDF as _, Normal};

/// A distribution, of mean 0 and standard deviation 1; the uniform one from -1 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// All as likely.
    Uniform,
    /// The bell curve.
    Normal,
    /// Pareto's with the exponent 3, moved and scaled.
    Pareto,
    /// As netem's: at each quantile a quarter of the normal one's and three quarters of the other's; moved and scaled.
    Paretonormal,
}

/// Pareto's exponent, as netem has it.
const ALPHA: f64 = 3.0;
/// The mean of Pareto's distribution that begins at 1.
const PARETO_MEAN: f64 = ALPHA / (ALPHA - 1.0);
/// What its standard deviation, the root of 3/4, is the inverse of.
const PARETO_SCALE: f64 = 1.154_700_538_379_251_7;

static NORMAL: LazyLock<Normal> = LazyLock::new(Normal::standard);

/// The standard deviation of the unscaled mixture.
static MIXTURE: LazyLock<f64> = LazyLock::new(|| {
    // Over the normal variable, in steps that are small against all that is curved there.
    let step = 0.001;
    let square = |i: i32| {
        let z = f64::from(i) * step;
        let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
        mixture(z).powi(2) * density * step
    };
    (-10_000..=12_000).map(square).sum::<f64>().sqrt()
});

/// The mixture where the normal variable is `z`.
fn mixture(z: f64) -> f64 {
    0.25 * z + 0.75 * pareto(NORMAL.sf(z))
}

/// Pareto's standard variable that a share `above` lies above.
fn pareto(above: f64) -> f64 {
    (above.powf(-1.0 / ALPHA) - PARETO_MEAN) * PARETO_SCALE
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Uniform, Self::Normal, Self::Pareto, Self::Paretonormal];

    /// As an experiment's file calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::Paretonormal => "paretonormal",
        }
    }

    /// The value that a share of all lies below; `share` between 0 and 1.
    pub fn quantile(self, share: f64) -> f64 {
        match self {
            Self::Uniform => 2.0 * share - 1.0,
            Self::Normal => NORMAL.inverse_cdf(share),
            Self::Pareto => pareto(1.0 - share),
            Self::Paretonormal => mixture(NORMAL.inverse_cdf(share)) / *MIXTURE,
        }
    }

    /// The share that lies below a value.
    pub fn share_below(self, value: f64) -> f64 {
        match self {
            Self::Uniform => f64::midpoint(value, 1.0).clamp(0.0, 1.0),
            Self::Normal => NORMAL.cdf(value),
            Self::Pareto => {
                let x = value / PARETO_SCALE + PARETO_MEAN;
                if x <= 1.0 { 0.0 } else { 1.0 - x.powf(-ALPHA) }
            }
            Self::Paretonormal => {
                let (mut low, mut high) = (-40.0, 40.0);
                for _ in 0..64 {
                    let middle = f64::midpoint(low, high);
                    if mixture(middle) / *MIXTURE < value { low = middle } else { high = middle }
                }
                NORMAL.cdf(low)
            }
        }
    }
}

/// Delays as they are asked for, in any unit.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// How they are distributed.
    pub shape: Shape,
    /// Their mean.
    pub delay: f64,
    /// Their standard deviation; of the uniform ones, half the width.
    pub jitter: f64,
}

impl Spread {
    /// The share of delays shorter than `delay`. None are below 0: what would be is 0.
    pub fn share_below(self, delay: f64) -> f64 {
        if delay < 0.0 { 0.0 } else { self.shape.share_below((delay - self.delay) / self.jitter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(what: &str, expected: f64, got: f64) {
        assert!((expected - got).abs() < 1e-4, "{what}: {got} is not {expected}");
    }

    #[test]
    fn known_values() {
        near("half a uniform one", 0.75, Shape::Uniform.share_below(0.5));
        near("two-sided 95 %", 0.975, Shape::Normal.share_below(1.959_964));
        near("the least of Pareto's", -1.0 / 3.0f64.sqrt(), Shape::Pareto.quantile(0.0));
        near("its median", (2.0f64.cbrt() - 1.5) / 0.75f64.sqrt(), Shape::Pareto.quantile(0.5));
        near("below its least", 0.0, Shape::Pareto.share_below(-0.6));
    }

    #[test]
    fn shares_and_quantiles_are_inverse() {
        for shape in Shape::ALL {
            for share in [0.001, 0.1, 0.5, 0.9, 0.999, 0.999_99] {
                near(shape.name(), share, shape.share_below(shape.quantile(share)));
            }
        }
    }

    /// By a million quantiles; of those with a long tail the last lacks a little.
    #[test]
    fn means_are_0_and_deviations_1() {
        for shape in Shape::ALL {
            let n = 1_000_000;
            let values = (0..n).map(|i| shape.quantile((f64::from(i) + 0.5) / f64::from(n)));
            let (sum, squares) = values.fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
            let (mean, deviation) = (sum / f64::from(n), (squares / f64::from(n)).sqrt());
            let wanted = if shape == Shape::Uniform { (1.0f64 / 3.0).sqrt() } else { 1.0 };
            assert!(mean.abs() < 0.002, "{shape:?}: {mean}");
            assert!((deviation - wanted).abs() < 0.01, "{shape:?}: {deviation}");
        }
    }

    #[test]
    fn no_delay_is_below_0() {
        let spread = Spread { shape: Shape::Normal, delay: 1.0, jitter: 1.0 };
        assert!(spread.share_below(-0.001) <= 0.0);
        near("what would be below is 0", 0.158_655, spread.share_below(0.0));
    }
}
