//! What went wrong, as the command line and the daemon tell it: every error of the inside to one message for a person and
//! one exit code.

use thiserror::Error;

use crate::{
    annotate::AnnotateError,
    bpf::{BpfError, Feature},
    config::ConfigError,
    engine::StartError,
    guard::{capabilities::MissingCapabilities, stop::Refused},
    steady::NotSteady,
    target::TargetError,
};

/// Exit code: the hypothesis did not hold.
pub const FALSIFIED: u8 = 1;
/// Exit code: nothing was learned about the hypothesis.
pub const INCONCLUSIVE: u8 = 5;
/// Exit code: bad input, nothing was applied.
pub const BAD_INPUT: u8 = 2;
/// Exit code: stopped before its time box was over, or before it began.
pub const STOPPED: u8 = 3;
/// Exit code: this host cannot do it.
pub const CANNOT: u8 = 4;
/// Exit code: a bug of kchaos.
pub const BUG: u8 = 70;

/// An end that is an error.
#[derive(Debug, Error)]
pub enum Failure {
    /// The experiment file.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// Other bad input.
    #[error("{0}")]
    Input(String),
    /// A stop condition holds before the start, or somebody has stopped it there.
    #[error("{0}")]
    StopsAtOnce(String),
    /// There is no steady state to begin with.
    #[error("{0}")]
    NotSteady(#[from] NotSteady),
    /// The same, as the daemon says it.
    #[error("{0}")]
    LearnedNothing(String),
    /// A capability or a kernel feature is missing.
    #[error("{0}")]
    Host(String),
    /// The result could not be written.
    #[error("cannot write the result: {0}")]
    Output(std::io::Error),
    /// What should not happen.
    #[error("{0:#}")]
    Bug(anyhow::Error),
}

impl Failure {
    /// How a command that failed so ends.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Input(_) => BAD_INPUT,
            Self::StopsAtOnce(_) => STOPPED,
            Self::NotSteady(_) | Self::LearnedNothing(_) => INCONCLUSIVE,
            Self::Host(_) | Self::Output(_) => CANNOT,
            Self::Bug(_) => BUG,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => Self::Config(error),
            StartError::Capabilities(error) => error.into(),
            StartError::Target(error) => error.into(),
            error @ StartError::NotNow(_) => Self::StopsAtOnce(error.to_string()),
            StartError::Condition(error @ Refused::Holds(_)) => Self::StopsAtOnce(error.to_string()),
            StartError::Condition(error @ Refused::Unknown { .. }) => Self::Host(error.to_string()),
            StartError::Slot(error) => Self::Host(error.to_string()),
            error @ (StartError::Connections(_) | StartError::Resource(_)) => Self::Host(error.to_string()),
            StartError::Bpf(error) => error.into(),
        }
    }
}

impl From<Box<ConfigError>> for Failure {
    fn from(error: Box<ConfigError>) -> Self {
        Self::Config(error)
    }
}

impl From<AnnotateError> for Failure {
    fn from(error: AnnotateError) -> Self {
        Self::Input(error.to_string())
    }
}

impl From<MissingCapabilities> for Failure {
    fn from(error: MissingCapabilities) -> Self {
        Self::Host(error.to_string())
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Host(error.to_string())
    }
}

impl From<BpfError> for Failure {
    fn from(error: BpfError) -> Self {
        match error {
            BpfError::Program { feature, step, program, ref error } => Self::Host(format!(
                "this kernel refused {feature} ({step} {program}), which {} takes: {}\n{}\n\
                 `kchaos check` shows what works here",
                feature.serves(),
                short(error),
                feature.remedy(),
            )),
            BpfError::OnlyReduced { feature } => {
                let less = feature.reduced();
                Self::Host(format!(
                    "this kernel can do {} only so far: {}\n{}\n`kchaos check` shows what works here",
                    feature.serves(),
                    less.map_or("less", |l| l.loss),
                    less.map_or(feature.remedy(), |l| l.remedy),
                ))
            }
            BpfError::Target(error) => error.into(),
            BpfError::Call { call, ref why } => Self::Host(format!(
                "this kernel cannot make {call} fail: {why}\n{}\n`kchaos check` shows which calls work here",
                Feature::Call(call).remedy(),
            )),
            error @ (BpfError::Clsact { .. }
            | BpfError::Line(_)
            | BpfError::LineGone { .. }
            | BpfError::Io { .. }
            | BpfError::Places(_)
            | BpfError::NoLocks
            | BpfError::Object(_)
            | BpfError::TooManyDepths
            | BpfError::TooManyTargets) => Self::Host(error.to_string()),
            #[cfg(feature = "kernel-log")]
            error @ BpfError::KernelLog(_) => Self::Bug(error.into()),
            error @ (BpfError::Map { .. }
            | BpfError::Absent(_)
            | BpfError::Link(_)
            | BpfError::TestRun { .. }) => Self::Bug(error.into()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Bug(error)
    }
}

/// The verifier's log is for `RUST_LOG=debug`; a person gets the reason.
pub(crate) fn short(error: &aya::programs::ProgramError) -> String {
    use aya::programs::ProgramError;
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            tracing::debug!("the verifier says: {verifier_log}");
            // Of all the reasons not to load a program, only the verifier's is EACCES.
            if io_error.raw_os_error() == Some(libc::EACCES) {
                return "its verifier does not accept the program, which is a bug of kchaos (RUST_LOG=debug shows why)"
                    .to_owned();
            }
            io_error.to_string()
        }
        ProgramError::SyscallError(error) => error.io_error.to_string(),
        other => other.to_string(),
    }
}
