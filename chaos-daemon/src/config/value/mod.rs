//! Values of the experiment file, one file each: text in, a checked value out, and back to text for reports.
//!
//! Every type parses from a string ([`FromStr`]), so that a value means the same in a file and in a flag of
//! `kchaos inject`. An error says what is wrong and, behind [`HELP_MARK`], what would be right.

mod after;
mod caller;
mod count;
mod cpu_time;
mod days;
mod direction;
mod duration;
mod errno;
mod peer;
mod pick;
mod ports;
mod protocol;
mod rate;
mod redirect;
mod seed;
mod share;
mod signal;
mod size;
mod status;
mod truth;
mod when;
mod window;
mod zone;

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::de::{self, Visitor};

pub use after::After;
pub use caller::{Comm, FilePath, FileType, UNIX, Uid, UnixPeer};
pub use count::Count;
pub use cpu_time::CpuTime;
pub use days::Days;
pub use direction::Direction;
pub use duration::Span;
pub use errno::Errno;
pub use peer::{Host, Peer};
pub use pick::Pick;
pub use ports::{PortRange, Ports};
pub use protocol::Protocol;
pub use rate::Rate;
pub use redirect::Redirect;
pub use seed::Seed;
pub use share::Share;
pub use signal::StopSignal;
pub use size::Size;
pub use status::Statuses;
pub use truth::Truth;
pub use when::{Comparison, Unit, When};
pub use window::Window;
pub use zone::Zone;

use super::section::HELP_MARK;

/// A value that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

impl Invalid {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, help } = self;
        write!(f, "{message}{HELP_MARK}{help}")
    }
}

impl std::error::Error for Invalid {}

/// Reads any TOML scalar as the text that stands in the file, so that `0.1` and `"10%"` reach the same parser.
pub(crate) struct Scalar<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T> Scalar<T> {
    pub(crate) fn new(expected: &'static str) -> Self {
        Self { expected, value: PhantomData }
    }
}

impl<T: FromStr<Err = Invalid>> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<T, E> {
        truth.to_string().parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        // With its point: 1.0 must not become the number 1, which may mean something else.
        format!("{number:?}").parse().map_err(E::custom)
    }
}

/// Lets a [`FromStr`] value stand in the file.
macro_rules! deserialize_from_text {
    ($type:ty, $expected:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_any($crate::config::value::Scalar::new($expected))
            }
        }
    };
}
pub(crate) use deserialize_from_text;
