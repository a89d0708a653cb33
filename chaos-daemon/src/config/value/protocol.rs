//! Transport protocols by name.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};

/// A protocol above IP, of both address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and `ICMPv6`.
    Icmp,
}

deserialize_from_text!(Protocol, "a protocol: \"tcp\", \"udp\" or \"icmp\"");

impl Protocol {
    /// The IP protocol number that the kernel side compares with.
    pub const fn number(self) -> u32 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl FromStr for Protocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp" => Ok(Self::Icmp),
            _ => Err(Invalid::new(
                format!("unknown protocol \"{text}\""),
                "write \"tcp\", \"udp\" or \"icmp\", or leave `protocol` out for all of them",
            )),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}
