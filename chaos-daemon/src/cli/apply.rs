//! `kchaos apply FILE`: hands an experiment to the daemon.

use std::path::PathBuf;

use super::{Exit, Failure, Format, connection, output, status};
use crate::{api::client::ClientError, config, daemon::Status};

/// Arguments of `kchaos apply`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment, a TOML file; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A name for this request: the same one again starts nothing (for programs that try again)
    #[arg(long, value_name = "WORD")]
    request: Option<String>,
    #[command(flatten)]
    pub(super) connection: connection::Args,
}

/// Runs it. It is over when the experiment runs, waits for its time, or could not start.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    // Mistakes are shown here, with their place, whether or not a daemon runs.
    let experiment = config::load(&args.file)?;
    let mut path = connection::path(&experiment.name)?;
    if let Some(request) = &args.request {
        path += &format!("?request={}", escaped(request));
    }
    let document = experiment.document().to_owned();
    let answer = connection::wait_for(async {
        match args.connection.client().put::<Status>(&path, document).await {
            // What only the daemon could find out is shown at its place as well.
            Err(ClientError::Refused(refusal)) if refusal.span.is_some() => Ok(Err(refusal)),
            other => other.map(Ok),
        }
    })?;
    match answer {
        Err(refusal) => Err(experiment.mistake(refusal.problem()).into()),
        Ok(status) => {
            match args.connection.output {
                Format::Json => output::json(&status)?,
                Format::Text => output::text(&status::line(&status))?,
            }
            Ok(Exit::Done)
        }
    }
}

/// For a query.
fn escaped(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    word.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
