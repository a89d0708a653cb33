//! Why an experiment does not start.

use thiserror::Error;

use super::slot::SlotError;
use crate::{
    bpf::BpfError,
    config::{ConfigError, Experiment, Problem},
    guard::capabilities::MissingCapabilities,
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
    /// Too many experiments.
    #[error(transparent)]
    Slot(#[from] SlotError),
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
