//! How kchaos ends: every outcome and every error to one exit code, and the error to a message for a person.

use std::{io::IsTerminal, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::json;
use thiserror::Error;

use super::Format;
use crate::{
    bpf::BpfError, config::ConfigError, engine::StartError, fault, guard::capabilities::MissingCapabilities,
    target::TargetError,
};

/// An end that is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did its work.
    Done,
    /// The experiment was stopped before its time box was over.
    Stopped,
    /// This host cannot do something that was asked about.
    CannotHere,
}

/// An end that is an error.
#[derive(Debug, Error)]
pub enum Failure {
    /// The experiment file.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// Other bad input.
    #[error("{0}")]
    Input(String),
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

const BAD_INPUT: u8 = 2;
const STOPPED: u8 = 3;
const CANNOT: u8 = 4;
const BUG: u8 = 70;

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(error) => Self::Config(error),
            StartError::Capabilities(error) => error.into(),
            StartError::Target(error) => error.into(),
            StartError::Slot(error) => Self::Host(error.to_string()),
            StartError::Bpf(error) => error.into(),
        }
    }
}

impl From<Box<ConfigError>> for Failure {
    fn from(error: Box<ConfigError>) -> Self {
        Self::Config(error)
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
            error @ (BpfError::Clsact { .. }
            | BpfError::Line(_)
            | BpfError::LineGone { .. }
            | BpfError::Io { .. }
            | BpfError::Object(_)
            | BpfError::TooManyDepths
            | BpfError::TooManyTargets) => Self::Host(error.to_string()),
            #[cfg(feature = "kernel-log")]
            error @ BpfError::KernelLog(_) => Self::Bug(error.into()),
            error @ (BpfError::Map { .. } | BpfError::Absent(_) | BpfError::TestRun { .. }) => {
                Self::Bug(error.into())
            }
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Bug(error)
    }
}

/// The verifier's log is for `RUST_LOG=debug`; a person gets the reason.
pub(super) fn short(error: &aya::programs::ProgramError) -> String {
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

/// Prints the error, if it is one, and answers with the exit code.
pub fn report(result: Result<Exit, Failure>, format: Format) -> ExitCode {
    match result {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Stopped) => ExitCode::from(STOPPED),
        Ok(Exit::CannotHere) => ExitCode::from(CANNOT),
        Err(failure) => {
            let code = match &failure {
                Failure::Config(_) | Failure::Input(_) => BAD_INPUT,
                // Whoever read our output has seen enough: `kchaos check | head -1`.
                Failure::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                    return ExitCode::SUCCESS;
                }
                Failure::Host(_) | Failure::Output(_) => CANNOT,
                Failure::Bug(_) => BUG,
            };
            match format {
                Format::Json => eprintln!("{}", as_json(&failure, code)),
                Format::Text => eprint!("{}", as_text(&failure)),
            }
            ExitCode::from(code)
        }
    }
}

/// A mistake on the command line itself. Asking for help is none.
pub fn usage(mut error: clap::Error) -> ExitCode {
    // `kchaos inject latency` means a kind that has another name here.
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && let Some(kind) = fault::called(word)
    {
        let names = ContextValue::Strings(vec![kind.name().to_owned()]);
        error.insert(ContextKind::SuggestedSubcommand, names);
    }
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked && wants_json(std::env::args()) {
        return report(Err(Failure::Input(error.to_string().trim_end().to_owned())), Format::Json);
    }
    // Nothing can be done where even the message cannot be printed.
    let _unprintable = error.print();
    if asked { ExitCode::SUCCESS } else { ExitCode::from(BAD_INPUT) }
}

/// Whether a command line that cannot be read asks for JSON.
fn wants_json(words: impl Iterator<Item = String>) -> bool {
    // What stands after -- belongs to somebody else.
    let words: Vec<String> = words.take_while(|word| word != "--").collect();
    words.iter().any(|word| word == "--output=json")
        || words.windows(2).any(|two| two == ["--output", "json"])
}

fn as_text(failure: &Failure) -> String {
    match failure {
        Failure::Config(error) => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
            let mut text = String::new();
            let rendered = GraphicalReportHandler::new_themed(theme)
                .with_width(110)
                .render_report(&mut text, error.as_ref());
            if rendered.is_err() {
                format!("kchaos: {error}\n")
            } else {
                format!("{text}nothing was applied\n")
            }
        }
        Failure::Bug(_) => format!("kchaos: {failure}\nThis is a bug in kchaos.\n"),
        other => format!("kchaos: {other}\n"),
    }
}

fn as_json(failure: &Failure, code: u8) -> serde_json::Value {
    match failure {
        Failure::Config(error) => {
            let (line, column) = error.place();
            json!({ "error": { "exit_code": code, "message": error.message(),
                    "file": error.origin(), "line": line, "column": column,
                    "help": error.suggestion() } })
        }
        other => json!({ "error": { "exit_code": code, "message": other.to_string() } }),
    }
}
