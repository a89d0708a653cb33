//! `kchaos events`: what happens to the daemon's experiments.

use super::{Exit, Failure, Format, connection, foreground::runtime, output};
use crate::{daemon::Event, printable::printable};

/// Arguments of `kchaos events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Wait for more, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Only those after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    pub(super) connection: connection::Args,
}

/// Runs it. As JSON it is one object per line, the daemon's own.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    let path = format!("/v1/events?after={}&follow={}", args.after, args.follow);
    let mut failed = None;
    let client = args.connection.client();
    let asked = client.lines(&path, |line| match write(line, args.connection.output) {
        Ok(()) => true,
        Err(failure) => {
            failed = Some(failure);
            false
        }
    });
    // A Ctrl-C is how following ends.
    runtime()?.block_on(async {
        tokio::select! {
            answer = asked => answer,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    failed.map_or(Ok(Exit::Done), Err)
}

fn write(line: &str, format: Format) -> Result<(), Failure> {
    match (format, serde_json::from_str::<Event>(line)) {
        (Format::Text, Ok(event)) => {
            let Event { number, time, experiment, phase, end, message, .. } = event;
            let end = end.map_or_else(String::new, |end| format!(" ({})", end.name()));
            let message = if message.is_empty() { message } else { format!(": {}", printable(&message)) };
            output::text(&format!("{number} {time} {experiment} {}{end}{message}\n", phase.name()))
        }
        _ => output::text(&format!("{line}\n")),
    }
}
