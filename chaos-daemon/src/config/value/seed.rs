//! Where the draws of an experiment start: a number.

use std::str::FromStr;

use super::{Invalid, deserialize_from_text};

/// A seed. At most 2^63 - 1, the largest integer a TOML file can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

deserialize_from_text!(Seed, "a number such as 42");

impl FromStr for Seed {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.trim().parse::<u64>().ok().filter(|n| i64::try_from(*n).is_ok()).map(Self).ok_or_else(|| {
            Invalid::new(format!("{text} is not a seed"), "a seed is a number from 0 to 9223372036854775807")
        })
    }
}
