//! A comparison with a number: `"> 0.02"`, `"<= 5%"`, `"< 300ms"`, `"== 0"`.

use std::{fmt, str::FromStr};

use super::{Invalid, Span, deserialize_from_text};

/// What a measured number is compared with, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct When {
    /// How.
    pub comparison: Comparison,
    /// With what: any finite number; 2 % is 0.02, 300 ms are 0.3.
    pub bound: f64,
    /// How the file says it.
    pub unit: Unit,
}

deserialize_from_text!(When, "a comparison such as \"> 0.02\", \"<= 5%\" or \"< 300ms\"");

/// What a number is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing.
    Number,
    /// Hundredths.
    Percent,
    /// A length of time; the number is in seconds.
    Time,
}

impl Unit {
    /// Of numbers that are in no unit but seconds.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Number => "",
            Self::Percent => "%",
            Self::Time => "s",
        }
    }
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

use Comparison::{Above, AtLeast, AtMost, Below, Equal, Unequal};

/// The longer ones first: `>=` begins with `>`.
const SIGNS: [(&str, Comparison); 6] =
    [(">=", AtLeast), ("<=", AtMost), ("==", Equal), ("!=", Unequal), (">", Above), ("<", Below)];

impl When {
    /// Whether `value` compares so. What is not a number never does, not even with `!=`.
    #[expect(clippy::float_cmp, reason = "`==` and `!=` are what the file asks for")]
    pub fn holds(&self, value: f64) -> bool {
        match self.comparison {
            _ if value.is_nan() => false,
            Above => value > self.bound,
            AtLeast => value >= self.bound,
            Below => value < self.bound,
            AtMost => value <= self.bound,
            Equal => value == self.bound,
            Unequal => value != self.bound,
        }
    }

    /// A number in the unit in which the bound was written.
    pub fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Number => rounded(value).to_string(),
            Unit::Percent => format!("{}%", rounded(value * 100.0)),
            Unit::Time => time(value),
        }
    }
}

/// A length of time, in the largest unit of which there is one at least.
fn time(seconds: f64) -> String {
    let (factor, unit) = match seconds.abs() {
        size if size >= 1.0 || size == 0.0 => (1.0, "s"),
        size if size >= 1e-3 => (1e3, "ms"),
        _ => (1e6, "us"),
    };
    format!("{}{unit}", (seconds * factor * 1e3).round() / 1e3)
}

/// To nine digits after the point, so that 0.07 does not become 7.000000000000001%.
fn rounded(value: f64) -> f64 {
    let scaled = value * 1e9;
    if scaled.abs() < 1e15 { scaled.round() / 1e9 } else { value }
}

impl FromStr for When {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write one of > >= < <= == != and a number: \"> 0.02\", \"<= 5%\", \"< 300ms\"";
        let wrong = || Invalid::new(format!("\"{text}\" is not a comparison with a number"), HELP);
        let trimmed = text.trim();
        let (rest, comparison) = SIGNS
            .iter()
            .find_map(|(sign, comparison)| Some((trimmed.strip_prefix(sign)?.trim(), *comparison)))
            .ok_or_else(wrong)?;
        let (bound, unit) = match rest.strip_suffix('%') {
            Some(number) => (number.trim_end().parse().map(|n: f64| n / 100.0).ok(), Unit::Percent),
            None => match rest.parse::<f64>() {
                Ok(number) => (Some(number), Unit::Number),
                Err(_) => (rest.parse::<Span>().map(|span| span.0.as_secs_f64()).ok(), Unit::Time),
            },
        };
        let bound = bound.filter(|number| number.is_finite()).ok_or_else(wrong)?;
        Ok(Self { comparison, bound, unit })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIGNS.iter().find(|(_, comparison)| *comparison == self.comparison);
        write!(f, "{} {}", sign.map_or("?", |(sign, _)| sign), self.show(self.bound))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compares_and_is_shown_as_it_was_written() {
        for (text, shown, yes, no) in [
            ("> 0.02", "> 0.02", 0.021, 0.02),
            (">=2%", ">= 2%", 0.02, 0.0199),
            ("< 7%", "< 7%", 0.0, 0.07),
            (" <= -1 ", "<= -1", -1.0, 0.0),
            ("== 0", "== 0", 0.0, 1e-9),
            ("< 300ms", "< 300ms", 0.299, 0.3),
            (">= 2m", ">= 120s", 120.0, 119.9),
            ("!= 1e3", "!= 1000", 999.0, 1000.0),
        ] {
            let when: When = text.parse().unwrap();
            assert_eq!(shown, when.to_string());
            assert!(when.holds(yes) && !when.holds(no), "{text}");
        }
    }

    #[test]
    fn infinity_is_a_number_and_nan_is_none() {
        for (sign, _) in SIGNS {
            assert!(!format!("{sign} 1").parse::<When>().unwrap().holds(f64::NAN), "{sign}");
        }
        assert!("> 5".parse::<When>().unwrap().holds(f64::INFINITY));
    }

    #[test]
    fn refuses_what_is_no_comparison() {
        for text in
            ["", ">", "0.02", "> x", "=> 1", "= 1", "> nan", "> inf", "> 1 2", "> %", "≥ 1", "> 1 parsec"]
        {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_means_the_same(bound in -1000.0..1000.0f64, percent: bool, sign in 0..6usize) {
            let bound = rounded(bound);
            let text = format!("{} {bound}{}", SIGNS[sign].0, if percent { "%" } else { "" });
            let when: When = text.parse().unwrap();
            let again: When = when.to_string().parse().unwrap();
            prop_assert_eq!(when.comparison, again.comparison);
            prop_assert!((when.bound - again.bound).abs() < 1e-8);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            let _any = text.parse::<When>();
        }
    }
}
