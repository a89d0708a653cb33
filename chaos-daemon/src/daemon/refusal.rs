//! Why something is refused: for a program by status and exit code, for a person by a sentence and, if it stands in the
//! file, its place there.

use std::ops::Range;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    config::Problem,
    engine::StartError,
    failure::{BAD_INPUT, BUG, CANNOT, Failure, INCONCLUSIVE},
};

/// A request that was not fulfilled. Nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// The HTTP status.
    #[serde(skip, default)]
    pub status: u16,
    /// What `kchaos` ends with: 2 for bad input, 3 for a stop condition that holds already, 4 where this
    /// host cannot do it, 5 if there is no steady state to begin with, 70 for a bug.
    pub exit_code: u8,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What to write at the underlined place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The bytes of the document that are wrong: from, and up to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<(usize, usize)>,
}

impl Refusal {
    fn new(status: StatusCode, exit_code: u8, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status: status.as_u16(), exit_code, message, help: None, label: None, span: None }
    }

    /// The request itself is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, BAD_INPUT, message)
    }

    /// The document is too long.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, BAD_INPUT, message)
    }

    /// The request did not come in time.
    pub fn too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, BAD_INPUT, message)
    }

    /// There are too many of them.
    pub fn too_many(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, CANNOT, message)
    }

    /// There is no such experiment.
    pub fn unknown(name: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            BAD_INPUT,
            format!("there is no experiment called {}", crate::printable::printable(name)),
        )
    }

    /// Not now: something else is there.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, CANNOT, message)
    }

    /// This host cannot, or not now.
    pub fn cannot(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, CANNOT, message)
    }

    /// There is no steady state to begin with.
    pub fn not_steady(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, INCONCLUSIVE, message)
    }

    /// A bug of ours.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, BUG, message)
    }

    /// Adds what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same as a mistake in a document.
    pub fn problem(&self) -> Problem {
        let Self { message, label, help, span, .. } = self.clone();
        let span = span.map(|(from, to)| Range { start: from, end: to });
        Problem { message, label: label.unwrap_or_default(), help, span }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let Problem { message, label, help, span } = problem;
        Self {
            help,
            label: Some(label),
            span: span.map(|span| (span.start, span.end)),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, BAD_INPUT, message)
        }
    }
}

impl From<StartError> for Refusal {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => error.problem().into(),
            other => {
                let failure = Failure::from(other);
                let status = match failure {
                    Failure::Bug(_) => StatusCode::INTERNAL_SERVER_ERROR,
                    Failure::StopsAtOnce(_) => StatusCode::CONFLICT,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                Self::new(status, failure.exit_code(), failure.to_string())
            }
        }
    }
}
