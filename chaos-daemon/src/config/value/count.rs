//! How many: a whole number of at least 1.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};

/// How many, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u32);

deserialize_from_text!(Count, "a whole number such as 10");

impl FromStr for Count {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write a whole number of at least 1, such as 10";
        match text.trim().parse::<i64>() {
            Ok(number) => {
                u32::try_from(number).ok().filter(|number| *number > 0).map(Self).ok_or_else(|| {
                    let limits = format!("write a whole number from 1 to {}, such as 10", u32::MAX);
                    Invalid::new(format!("{number} is out of range"), limits)
                })
            }
            Err(_) => Err(Invalid::new(format!("\"{text}\" is not a whole number"), HELP)),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_one() {
        assert_eq!(Ok(Count(1)), "1".parse());
        assert_eq!(Ok(Count(u32::MAX)), u32::MAX.to_string().parse());
        for text in ["0", "-1", "1.5", "1.0", "ten", "", "10%", "4294967296", "1e3"] {
            assert!(text.parse::<Count>().is_err(), "{text}");
        }
    }
}
