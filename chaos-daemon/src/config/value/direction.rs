//! Which way packets go, seen from the target.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};

/// Which way packets go, seen from the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that it sends.
    Egress,
    /// Those that it receives.
    Ingress,
    /// All of them.
    Both,
}

deserialize_from_text!(Direction, "a direction: \"egress\", \"ingress\" or \"both\"");

impl FromStr for Direction {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "egress" => Ok(Self::Egress),
            "ingress" => Ok(Self::Ingress),
            "both" => Ok(Self::Both),
            _ => Err(Invalid::new(
                format!("unknown direction \"{text}\""),
                "write \"egress\" for what the target sends, \"ingress\" for what it receives, or \"both\"",
            )),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Egress => "sent",
            Self::Ingress => "received",
            Self::Both => "sent and received",
        })
    }
}
