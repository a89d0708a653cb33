//! Rates: `10Mbit`, `64kbit`, `1MB/s`.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text, size};

/// So much in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    bits: u64,
}

deserialize_from_text!(Rate, "a rate such as \"10Mbit\"");

/// Units and how many bits they are, the largest first, as rates are shown.
const UNITS: [(&str, u64); 10] = [
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
    ("GB/s", 8_000_000_000),
    ("MB/s", 8_000_000),
    ("kB/s", 8_000),
    ("MiB/s", 8 << 20),
    ("KiB/s", 8 << 10),
    ("B/s", 8),
];

impl Rate {
    /// The slowest: a full packet takes 1.5 s.
    pub const SLOWEST: Self = Self { bits: 8_000 };
    /// The fastest.
    pub const FASTEST: Self = Self { bits: 100_000_000_000 };

    /// Bytes in a second, more than 0.
    pub const fn bytes_per_second(self) -> u64 {
        self.bits / 8
    }
}

impl FromStr for Rate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write a number with its unit: \"64kbit\", \"10Mbit\", \"1Gbit\", \"1MB/s\"";
        let trimmed = text.trim();
        if let Ok(number) = trimmed.parse::<f64>() {
            if number == 0.0 {
                return Err(outside(text));
            }
            let help = format!("write \"{number}Mbit\" or \"{number}kbit\": bits in a second");
            return Err(Invalid::new(format!("the rate {text} has no unit"), help));
        }
        let wrong = || Invalid::new(format!("\"{text}\" is not a rate"), HELP);
        let (number, unit) = size::split(trimmed).ok_or_else(wrong)?;
        let per_second = unit.strip_suffix("/s").filter(|u| u.to_ascii_lowercase().ends_with("bit"));
        let name = per_second.unwrap_or(unit);
        let known = UNITS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, each) = known.ok_or_else(|| unknown(text, number, unit))?;
        let bits = size::whole(number * each as f64).ok_or_else(wrong)?;
        Some(Self { bits })
            .filter(|rate| (Self::SLOWEST..=Self::FASTEST).contains(rate))
            .ok_or_else(|| outside(text))
    }
}

/// `10M`, `10Mb` and `10Mbps` mean bits to some and bytes to others (tc among them).
fn unknown(text: &str, number: f64, unit: &str) -> Invalid {
    let prefix = match unit.chars().next().map(|c| c.to_ascii_lowercase()) {
        Some('k') => "k",
        Some('g') => "G",
        _ => "M",
    };
    Invalid::new(
        format!("the rate {text} might be bits or bytes, or is no rate"),
        format!("write \"{number}{prefix}bit\" for bits or \"{number}{prefix}B/s\" for bytes in a second"),
    )
}

fn outside(text: &str) -> Invalid {
    let (slowest, fastest) = (Rate::SLOWEST, Rate::FASTEST);
    Invalid::new(
        format!("the rate {text} is outside {slowest} to {fastest}"),
        "write one in between; for a far end that cannot be reached at all write kind = \"drop\"",
    )
}

impl fmt::Display for Rate {
    /// In the largest unit of bits that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, each) =
            UNITS.into_iter().find(|(_, each)| self.bits.is_multiple_of(*each)).unwrap_or(("bit", 1));
        write!(f, "{}{unit}", self.bits / each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bits_and_bytes() {
        for (text, bytes) in [
            ("10Mbit", 1_250_000),
            ("64kbit", 8_000),
            ("1Gbit", 125_000_000),
            ("1.5 mbit", 187_500),
            ("10Mbit/s", 1_250_000),
            ("8000bit", 1_000),
            ("1MB/s", 1_000_000),
            ("64KiB/s", 65_536),
            ("100Gbit", 12_500_000_000),
        ] {
            assert_eq!(Ok(bytes), text.parse::<Rate>().map(Rate::bytes_per_second), "{text}");
        }
    }

    #[test]
    fn shows_bits() {
        for (text, shown) in [("10Mbit", "10Mbit"), ("1MB/s", "8Mbit"), ("1.5Mbit", "1500kbit")] {
            assert_eq!(shown, text.parse::<Rate>().unwrap().to_string());
        }
    }

    #[test]
    fn what_might_be_bits_or_bytes_is_refused() {
        for text in ["10M", "10Mb", "10Mbps", "10MBps", "10 Mib"] {
            let wrong = text.parse::<Rate>().unwrap_err();
            assert!(
                wrong.help.contains("\"10Mbit\"") && wrong.help.contains("\"10MB/s\""),
                "{text}: {wrong}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_rate() {
        for text in
            ["", "0", "0Mbit", "7999bit", "101Gbit", "-1Mbit", "fast", "10", "Mbit", "1e9bit", "1B/s/s"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
