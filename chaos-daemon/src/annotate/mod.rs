//! Marks on the dashboards of others: that an experiment began, and what came of it.
//!
//! [`spec`] is `[annotate]` as it is read, [`mark`] what there is to say; [`grafana`] and [`opentelemetry`] say it, each in the
//! words of those who listen. What must stay true: nobody is told anything unless the file or the host's owner asks for
//! it, one who cannot be told is a warning and never the end of an experiment, and nothing waits for them while faults
//! are on.

mod grafana;
mod mark;
mod opentelemetry;
mod receiver;
mod spec;
#[cfg(test)]
mod tests;

use std::time::Duration;

use thiserror::Error;
use tokio::{task::JoinHandle, time};

use self::{grafana::Grafana, opentelemetry::OpenTelemetry};
pub use self::{mark::Mark, spec::AnnotateSpec};
use crate::measure::MeasureError;

/// All of them together may take this long after the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nobody can be told anything. Nothing was applied.
#[derive(Debug, Error)]
pub enum AnnotateError {
    /// The secret is not there.
    #[error(
        "[annotate]: cannot read the token in {path}: {error}\nnothing was applied; put it there, or leave `token_file` out"
    )]
    Token {
        /// Its file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// What stands there cannot be one.
    #[error(
        "[annotate]: {path} holds no token: {why}\nnothing was applied; write the token alone into it, in one line"
    )]
    NoToken {
        /// Its file.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// There can be no client.
    #[error("[annotate]: {0}")]
    Client(MeasureError),
}

/// Somebody who is told.
enum Listener {
    Grafana(Grafana),
    OpenTelemetry(OpenTelemetry),
}

impl Listener {
    async fn began(&mut self, mark: &Mark) {
        let told = match self {
            Self::Grafana(grafana) => grafana.began(mark).await,
            Self::OpenTelemetry(collector) => collector.tell(mark).await,
        };
        self.warn(told, "that it began");
    }

    async fn ended(&mut self, began: &Mark, mark: &Mark) {
        let told = match self {
            Self::Grafana(grafana) => grafana.ended(began, mark).await,
            Self::OpenTelemetry(collector) => collector.tell(mark).await,
        };
        self.warn(told, "how it ended");
    }

    fn warn(&self, told: Result<(), MeasureError>, what: &str) {
        let name = match self {
            Self::Grafana(_) => "Grafana",
            Self::OpenTelemetry(_) => "the collector of OpenTelemetry",
        };
        if let Err(error) = told {
            tracing::warn!("{name} was not told {what}: {error}");
        }
    }
}

/// Tells of one run.
pub struct Annotations {
    listeners: Vec<Listener>,
    /// What they were told, and those who are being told.
    telling: Option<(Mark, Vec<JoinHandle<Listener>>)>,
}

impl Annotations {
    /// Reads the secrets. Before anything is applied.
    pub fn new(spec: Option<&AnnotateSpec>) -> Result<Self, AnnotateError> {
        let grafana = spec.and_then(|spec| spec.grafana.as_ref()).map(Grafana::new).transpose()?;
        let collector =
            spec.and_then(|spec| spec.opentelemetry.as_ref()).map(OpenTelemetry::new).transpose()?;
        let listeners =
            grafana.map(Listener::Grafana).into_iter().chain(collector.map(Listener::OpenTelemetry));
        Ok(Self { listeners: listeners.collect(), telling: None })
    }

    /// Tells that it has begun, and does not wait. Must be called where tokio runs.
    pub fn began(&mut self, mark: impl FnOnce() -> Mark) {
        if self.listeners.is_empty() {
            return;
        }
        let mark = mark();
        let tell = |mut listener: Listener| {
            let mark = mark.clone();
            tokio::spawn(async move {
                listener.began(&mark).await;
                listener
            })
        };
        let telling = self.listeners.drain(..).map(tell).collect();
        self.telling = Some((mark, telling));
    }

    /// Tells what came of it. The faults are off.
    pub async fn ended(self, mark: impl FnOnce() -> Mark) {
        let Some((began, telling)) = self.telling else { return };
        let mark = mark();
        let all = telling.into_iter().map(|listener| async {
            if let Ok(mut listener) = listener.await {
                listener.ended(&began, &mark).await;
            }
        });
        if time::timeout(PATIENCE, futures_util::future::join_all(all)).await.is_err() {
            tracing::warn!("[annotate]: not all were told how it ended within {} s", PATIENCE.as_secs());
        }
    }
}
