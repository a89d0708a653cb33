//! Sizes: `1500B`, `64KiB`, `256MiB`, `1MB`.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

deserialize_from_text!(Size, "a size such as \"64KiB\"");

/// The largest first, as sizes are shown.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl FromStr for Size {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write a number with its unit: \"1500B\", \"64KiB\", \"256MiB\"";
        let trimmed = text.trim();
        if let Ok(number) = trimmed.parse::<f64>() {
            let help = format!("write \"{number}B\" for bytes, or \"{number}KiB\"");
            return Err(Invalid::new(format!("the size {text} has no unit"), help));
        }
        let wrong = || Invalid::new(format!("\"{text}\" is not a size"), HELP);
        let (number, unit) = split(trimmed).ok_or_else(wrong)?;
        let (_, each) = UNITS
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .ok_or_else(|| Invalid::new(format!("\"{unit}\" is not a unit of size"), HELP))?;
        whole(number * each as f64).map(Self).ok_or_else(wrong)
    }
}

/// A number, not negative, and what stands behind it.
pub(super) fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// To the nearest whole number. `None`: more than any size or rate that is meant.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within 0..=2^53")]
pub(super) fn whole(number: f64) -> Option<u64> {
    const MOST: f64 = (1u64 << 53) as f64;
    (0.0..=MOST).contains(&number).then(|| number.round() as u64)
}

impl fmt::Display for Size {
    /// In the largest unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, each) = UNITS
            .into_iter()
            .find(|(_, each)| self.0 > 0 && self.0.is_multiple_of(*each))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_of_both_sorts() {
        for (text, bytes) in [
            ("1500B", 1500),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1.5MiB", 1_572_864),
            ("1MB", 1_000_000),
            ("2GiB", 2 << 30),
            ("0B", 0),
        ] {
            assert_eq!(Ok(Size(bytes)), text.parse(), "{text}");
        }
    }

    #[test]
    fn shows_what_was_written() {
        for text in ["1500B", "64KiB", "256MiB", "1GiB", "3MB", "0B"] {
            assert_eq!(text, text.parse::<Size>().unwrap().to_string());
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in ["", "64", "1.5", "KiB", "64K", "64Kib/s", "-1B", "1e3B", "..B", "9999999999GiB", "many"]
        {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert!("64".parse::<Size>().unwrap_err().help.contains("\"64KiB\""));
    }
}
