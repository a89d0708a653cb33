//! Statuses of HTTP answers: `200`, `"2xx"`, `"200-399"`.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};

/// A range of statuses, within 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    first: u16,
    last: u16,
}

deserialize_from_text!(Statuses, "a status such as 200, \"2xx\" or \"200-399\"");

impl Statuses {
    /// Those that say that all is well.
    pub const SUCCESS: Self = Self { first: 200, last: 299 };

    /// Whether a status is among them.
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }
}

impl FromStr for Statuses {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(
                format!("\"{text}\" is not a status of HTTP"),
                "write 200, \"2xx\" or \"200-399\"; a status lies between 100 and 599",
            )
        };
        let number = |text: &str| {
            let number: Option<u16> = text.trim().parse().ok();
            number.filter(|number| (100..600).contains(number)).ok_or_else(wrong)
        };
        let trimmed = text.trim();
        let (first, last) = if let Some(class) = trimmed.strip_suffix("xx") {
            let first = number(&format!("{class}00"))?;
            (first, first + 99)
        } else if let Some((first, last)) = trimmed.split_once('-') {
            (number(first)?, number(last)?)
        } else {
            (number(trimmed)?, number(trimmed)?)
        };
        if first > last {
            return Err(wrong());
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        match (first % 100, last - first) {
            (_, 0) => write!(f, "{first}"),
            (0, 99) => write!(f, "{}xx", first / 100),
            _ => write!(f, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows_them() {
        for (text, shown, among, not) in [
            ("200", "200", 200, 201),
            ("2xx", "2xx", 299, 300),
            ("200-399", "200-399", 304, 400),
            (" 500 - 599 ", "5xx", 503, 499),
        ] {
            let statuses: Statuses = text.parse().unwrap();
            assert_eq!(shown, statuses.to_string());
            assert!(statuses.contains(among) && !statuses.contains(not), "{text}");
        }
        assert_eq!(Ok(Statuses::SUCCESS), "2xx".parse());
        for text in
            ["", "20", "600", "xx", "0xx", "6xx", "399-200", "200-", "-200", "2x", "ok", "200.0", "éxx"]
        {
            assert!(text.parse::<Statuses>().is_err(), "{text}");
        }
    }
}
