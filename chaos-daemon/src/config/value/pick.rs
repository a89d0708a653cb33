//! How many of those that a selector names: `"all"`, `"one"`, `3` or `"50%"`.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};

/// How many are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pick {
    /// Every one.
    #[default]
    All,
    /// So many, at least 1.
    Count(usize),
    /// So many of a hundred of those that are there, more than 0 and at most 100; as written, so that it is shown so.
    Percent(f64),
}

deserialize_from_text!(Pick, "\"all\", \"one\", a number or a share such as \"50%\"");

impl Pick {
    /// How many of `there`, to the nearest; a count is no more than there are. `None`: a share that comes out as
    /// nobody.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small number, rounded"
    )]
    pub fn of(self, there: usize) -> Option<usize> {
        match self {
            Self::All => Some(there),
            Self::Count(count) => Some(count.min(there)),
            Self::Percent(percent) => {
                Some((percent * there as f64 / 100.0).round() as usize).filter(|n| *n > 0 || there == 0)
            }
        }
    }
}

impl FromStr for Pick {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write \"all\", \"one\", a number of at least 1, or a share such as \"50%\"";
        const POINT: &str =
            "write 1 for one of them, or \"100%\" for all: a number has no point, and a share has a %";
        let wrong = || Invalid::new(format!("\"{text}\" does not say how many"), HELP);
        match text.trim() {
            "all" => return Ok(Self::All),
            "one" => return Ok(Self::Count(1)),
            _ => {}
        }
        if let Some(percent) = text.trim().strip_suffix('%') {
            let percent = percent.trim_end().parse::<f64>().map_err(|_| wrong())?;
            if !(percent > 0.0 && percent <= 100.0) {
                return Err(Invalid::new(format!("{text} of them is nobody, or more than all"), HELP));
            }
            return Ok(Self::Percent(percent));
        }
        match text.trim().parse::<usize>() {
            Ok(0) => Err(Invalid::new("0 of them is nobody", HELP)),
            Ok(count) => Ok(Self::Count(count)),
            // 1.0 is one of them to some, and all of them to others.
            Err(_) if text.trim().parse::<f64>().is_ok_and(|n| n > 0.0 && n.is_finite()) => {
                Err(Invalid::new(format!("{text} might be a number of them or a share"), POINT))
            }
            Err(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        for (text, there, expected) in [
            ("all", 5, Some(5)),
            ("one", 5, Some(1)),
            ("one", 0, Some(0)),
            ("3", 5, Some(3)),
            ("3", 2, Some(2)),
            ("50%", 4, Some(2)),
            ("50%", 5, Some(3)),
            ("10%", 4, None),
            ("100%", 4, Some(4)),
            ("50%", 0, Some(0)),
        ] {
            assert_eq!(expected, text.parse::<Pick>().unwrap().of(there), "{text} of {there}");
        }
    }

    #[test]
    fn shows_what_was_written() {
        for text in ["all", "1", "3", "50%", "7%", "29%", "33.3%", "0.07%", "100%"] {
            assert_eq!(text, text.parse::<Pick>().unwrap().to_string());
        }
    }

    #[test]
    fn a_number_with_a_point_may_mean_two_things() {
        for text in ["1.0", "0.5", "2.0", "1e0"] {
            let wrong = text.parse::<Pick>().unwrap_err();
            assert!(wrong.message.contains(text) && wrong.help.contains("\"100%\""), "{wrong}");
        }
    }

    #[test]
    fn refuses_what_names_nobody() {
        for text in ["", "0", "-1", "0%", "101%", "some", "1.5", "NaN%", "half"] {
            assert!(text.parse::<Pick>().is_err(), "{text}");
        }
    }
}
