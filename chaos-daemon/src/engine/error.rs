//! Why an experiment does not start.

use std::sync::Arc;

use thiserror::Error;

use super::slot::SlotError;
use crate::{
    bpf::BpfError,
    config::{ConfigError, Experiment, Problem},
    guard::{
        capabilities::MissingCapabilities,
        stop::{self, Refused},
    },
    load::Statistics,
    measure::MeasureError,
    resource::ResourceError,
    target::TargetError,
};

/// Why an experiment did not start. Nothing was applied.
#[derive(Debug, Error)]
pub enum StartError {
    /// The file, or what it names.
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    /// A capability is missing.
    #[error(transparent)]
    Capabilities(#[from] MissingCapabilities),
    /// The cgroup or a network namespace.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A stop condition.
    #[error(transparent)]
    Condition(#[from] Refused),
    /// Too many experiments.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// Somebody has halted it, or its time is over, before it began.
    #[error("nothing was applied: {0}")]
    NotNow(String),
    /// Connections without traffic cannot be cut.
    #[error(
        "cannot end connections without traffic: {0}. It takes a kernel with CONFIG_INET_DIAG_DESTROY and its module \
         tcp_diag; without `idle = true` connections are cut as soon as they show a packet"
    )]
    Connections(std::io::Error),
    /// What acts from user space cannot do so here.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The kernel refused a program.
    #[error(transparent)]
    Bpf(#[from] BpfError),
}

/// Mistakes in the file get their place; everything else stays what it is. A command that cannot be started is a mistake.
pub(super) fn in_file(experiment: &Experiment, error: TargetError) -> StartError {
    match error {
        TargetError::Mistake(problem) => experiment.mistake(problem).into(),
        TargetError::Command { program, error } => {
            let message = format!("cannot start {program}: {error}");
            let problem = Problem::at(experiment.target.span(), message, "cannot be started")
                .help("write the program as in a shell, or as a list: [\"program\", \"argument\", ...]");
            experiment.mistake(problem).into()
        }
        other => other.into(),
    }
}

/// Looks at the stop conditions, once. A mistake in one of them gets its place.
pub async fn check_stops(experiment: &Experiment, load: Option<Arc<Statistics>>) -> Result<(), StartError> {
    match stop::check_once(experiment, load).await {
        Ok(()) => Ok(()),
        Err(Refused::Unknown { index, name, error: MeasureError::Mistake(what) }) => {
            let span = experiment.stops.get(index).map_or(0..0, |spec| spec.span.clone());
            let message = format!("the stop condition \"{name}\" can never be evaluated: {what}");
            let problem = Problem::at(span, message, "this one")
                .help("nothing would ever stop the experiment: put it right, or leave it out");
            Err(experiment.mistake(problem).into())
        }
        Err(refused) => Err(refused.into()),
    }
}
