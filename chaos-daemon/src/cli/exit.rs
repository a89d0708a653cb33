//! How kchaos ends: every outcome and every error to one exit code, and the error to a message for a person.

use std::{io::IsTerminal, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::json;

use super::{Failure, Format};
use crate::{
    failure::{BAD_INPUT, CANNOT, FALSIFIED, INCONCLUSIVE, STOPPED},
    fault,
};

/// An end that is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did its work.
    Done,
    /// The experiment was stopped before its time box was over.
    Stopped,
    /// The hypothesis did not hold.
    Falsified,
    /// Nothing was learned about the hypothesis.
    Inconclusive,
    /// This host cannot do something that was asked about.
    CannotHere,
}

/// Prints the error, if it is one, and answers with the exit code.
pub fn report(result: Result<Exit, Failure>, format: Format) -> ExitCode {
    match result {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Stopped) => ExitCode::from(STOPPED),
        Ok(Exit::Falsified) => ExitCode::from(FALSIFIED),
        Ok(Exit::Inconclusive) => ExitCode::from(INCONCLUSIVE),
        Ok(Exit::CannotHere) => ExitCode::from(CANNOT),
        Err(failure) => {
            // Whoever read our output has seen enough: `kchaos check | head -1`.
            if matches!(&failure, Failure::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            let code = failure.exit_code();
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
