//! Lengths of time: `50ms`, `3s`, `2m`, `1h30m`.

use std::{fmt, str::FromStr, time::Duration};

use super::{Invalid, deserialize_from_text};

/// A length of time as written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

deserialize_from_text!(Span, "a duration such as \"50ms\", \"3s\" or \"2m\"");

impl FromStr for Span {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const HELP: &str = "write a number with its unit: \"50ms\", \"3s\", \"2m\", \"1h\"";
        let trimmed = text.trim();
        if trimmed.starts_with('-') {
            return Err(Invalid::new(format!("a duration cannot be negative: {text}"), HELP));
        }
        if trimmed.parse::<f64>().is_ok() {
            return Err(Invalid::new(
                format!("the duration {text} has no unit"),
                format!("write \"{trimmed}s\" for seconds or \"{trimmed}ms\" for milliseconds"),
            ));
        }
        if trimmed.ends_with('M') {
            let number = trimmed.trim_end_matches('M').trim_end();
            return Err(Invalid::new(
                format!("the duration {text} might be minutes or months"),
                format!("write \"{number}m\" for minutes"),
            ));
        }
        humantime::parse_duration(trimmed)
            .map(Self)
            .map_err(|e| Invalid::new(format!("\"{text}\" is not a duration: {e}"), HELP))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}
