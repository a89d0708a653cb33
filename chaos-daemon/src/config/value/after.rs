//! A point in the life of a connection: after so many bytes, or so much time.

use std::{fmt, str::FromStr, time::Duration};

use super::{Invalid, Size, Span, deserialize_from_text};

/// `"64KiB"` or `"2s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// When it has carried more than this.
    Bytes(Size),
    /// When it is as old as this.
    Age(Duration),
}

deserialize_from_text!(After, "a size such as \"64KiB\" or a duration such as \"2s\"");

impl FromStr for After {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(size) = text.parse() {
            return Ok(Self::Bytes(size));
        }
        text.parse().map(|Span(age)| Self::Age(age)).map_err(|_neither| {
            Invalid::new(
                format!("\"{text}\" is neither a size nor a duration"),
                "write a number with its unit: \"64KiB\" or \"1MiB\" carried by the connection, \"500ms\" or \"2s\" of its life",
            )
        })
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(size) => size.fmt(f),
            Self::Age(age) => Span(*age).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_sizes_from_durations() {
        assert_eq!(Ok(After::Bytes(Size(65_536))), "64KiB".parse());
        assert_eq!(Ok(After::Age(Duration::from_secs(2))), "2s".parse());
        assert_eq!("1m 30s", "90s".parse::<After>().unwrap().to_string());
        for text in ["64", "", "soon", "-2s", "10M", "64Kibit"] {
            let refused = text.parse::<After>().unwrap_err();
            assert!(refused.help.contains("64KiB") && refused.help.contains("2s"), "{text}: {refused:?}");
        }
    }
}
