//! Why something could not be measured.

use std::time::Duration;

use thiserror::Error;

use crate::config::value::Span;

/// Why something could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MeasureError {
    /// The file asks for what can never be measured: a query that does not parse, a program that is not there.
    #[error("{0}")]
    Mistake(String),
    /// This host can never measure it.
    #[error("{0}")]
    Unsupported(String),
    /// It was not possible this time.
    #[error("{0}")]
    Failed(String),
    /// There was nothing to measure.
    #[error("{0}")]
    NoData(String),
    /// It took too long.
    #[error("no answer within {}", Span(*.0))]
    TimedOut(Duration),
}

impl MeasureError {
    /// Whether it will be the same next time, so that there is no point in waiting for a better answer.
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Mistake(_) | Self::Unsupported(_))
    }
}

/// An error and all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors say what their cause says.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
