//! Yes or no: `true`, `false`, or the same as a text, which is all that a flag can give.

use std::str::FromStr;

use super::{Invalid, deserialize_from_text};

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth(pub bool);

deserialize_from_text!(Truth, "true or false");

impl FromStr for Truth {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.trim()
            .parse()
            .map(Self)
            .map_err(|_| Invalid::new(format!("\"{text}\" is neither true nor false"), "write true or false"))
    }
}
