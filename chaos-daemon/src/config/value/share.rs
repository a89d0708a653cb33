//! Shares: `"10%"` or `0.1`.

use std::{fmt, str::FromStr};

use chaos_common::draw;

use super::{Invalid, deserialize_from_text};

/// A share between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

deserialize_from_text!(Share, "a share such as \"10%\" or 0.1");

impl Share {
    /// All of it.
    pub const ALL: Self = Self(1.0);

    /// As a number, 0 to 1.
    pub const fn fraction(self) -> f64 {
        self.0
    }

    /// On the kernel's scale.
    pub fn threshold(self) -> u64 {
        draw::threshold(self.0)
    }
}

impl FromStr for Share {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write \"10%\" or 0.1; a share lies between 0% and 100%";
        let trimmed = text.trim();
        let (number, percent) = match trimmed.strip_suffix('%') {
            Some(number) => (number.trim_end(), true),
            None => (trimmed, false),
        };
        let number: f64 =
            number.parse().map_err(|_| Invalid::new(format!("\"{text}\" is not a share"), HELP))?;
        let fraction = if percent { number / 100.0 } else { number };
        if !(0.0..=1.0).contains(&fraction) {
            let help = if !percent && fraction.is_finite() && (1.0..=100.0).contains(&number) {
                format!("did you mean \"{number}%\"? A plain number is a fraction: 1 is 100%")
            } else {
                HELP.to_owned()
            };
            return Err(Invalid::new(format!("the share {text} is outside 0% to 100%"), help));
        }
        if fraction > 0.0 && fraction < draw::SMALLEST {
            return Err(Invalid::new(
                format!("the share {text} is too small to tell from 0"),
                "the smallest share above 0 is 0.00000003%",
            ));
        }
        Ok(Self(fraction))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded to the kernel's resolution, so that 0.1 does not print as 10.000000000000002.
        let percent = (self.0 * 1e10).round() / 1e8;
        write!(f, "{percent}%")
    }
}
