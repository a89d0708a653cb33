//! `kchaos list` and `kchaos status`: what the daemon knows.

use std::{io::IsTerminal, thread, time::Duration};

use super::{Exit, Failure, Format, connection, output};
use crate::{
    daemon::{End, FaultStatus, Phase, Status},
    printable::printable,
    record::Finding,
};

/// Arguments of `kchaos list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) connection: connection::Args,
}

/// Arguments of `kchaos status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment; without it, all
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Show it again every second, until it has ended (all of them: until Ctrl-C). The exit code is then that of the
    /// experiment, as `kchaos run` has it
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    pub(super) connection: connection::Args,
}

/// Runs `kchaos list`.
pub fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let mut list: Vec<Status> = args.connection.ask(async |client| client.get("/v1/experiments").await)?;
    // What hits somebody first, what is over last.
    list.sort_by_key(|status| match status.phase {
        Phase::Running => 0,
        Phase::Recovering => 1,
        Phase::Checking => 2,
        Phase::Pending => 3,
        Phase::Ended => 4,
    });
    match args.connection.output {
        Format::Json => output::json(&list)?,
        Format::Text if list.is_empty() => output::text("no experiments\n")?,
        Format::Text => {
            let header = ["experiment", "phase", "target", "left", "hit", "matched", "since, or starts"];
            let table = output::table(&header, list.iter().map(row), &[3, 4, 5]);
            output::text(&format!("{table}\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// Runs `kchaos status`.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    let path = args.name.as_deref().map(connection::path).transpose()?;
    loop {
        let list: Vec<Status> = match &path {
            Some(path) => vec![args.connection.ask(async |client| client.get(path).await)?],
            None => args.connection.ask(async |client| client.get("/v1/experiments").await)?,
        };
        match (args.connection.output, &list[..], &args.name) {
            // With --watch, one document per line.
            (Format::Json, [one], Some(_)) if args.watch => output::line(one)?,
            (Format::Json, all, _) if args.watch => output::line(&all)?,
            (Format::Json, [one], Some(_)) => output::json(one)?,
            (Format::Json, all, _) => output::json(&all)?,
            (Format::Text, [], _) => output::text("no experiments\n")?,
            (Format::Text, all, _) => {
                let again = if args.watch && std::io::stdout().is_terminal() { CLEAR } else { "" };
                let texts: Vec<String> = all.iter().map(details).collect();
                output::text(&format!("{again}{}", texts.join("\n")))?;
            }
        }
        if !args.watch {
            return Ok(Exit::Done);
        }
        if let ([one], Some(path)) = (&list[..], &path)
            && one.phase == Phase::Ended
        {
            return exit(one, path, &args.connection);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// That of an experiment that is over. Why one has failed is what the daemon answers who asks for its record.
fn exit(status: &Status, path: &str, connection: &connection::Args) -> Result<Exit, Failure> {
    if status.end == Some(End::Failed) {
        let _not_there: serde_json::Value =
            connection.ask(async |client| client.get(&format!("{path}/record")).await)?;
    }
    Ok(match (status.end, status.verdict.as_ref().map(|verdict| verdict.verdict)) {
        // What is known then is of an earlier run.
        (Some(End::Failed), _) => Exit::CannotHere,
        (_, Some(Finding::Falsified)) => Exit::Falsified,
        (_, Some(Finding::Inconclusive)) => Exit::Inconclusive,
        (_, Some(Finding::Stopped)) | (Some(End::Stopped | End::Halted), _) => Exit::Stopped,
        (_, Some(Finding::Held | Finding::NotAsked) | None) => Exit::Done,
    })
}

/// Clears a terminal (ECMA-48: erase in page, cursor to its beginning).
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// One experiment in a line.
pub fn line(status: &Status) -> String {
    let message =
        if status.message.is_empty() { String::new() } else { format!(": {}", printable(&status.message)) };
    format!("{} is {}{message}\n", status.name, phase(status))
}

fn phase(status: &Status) -> String {
    let phase = match status.end {
        Some(end) => format!("{} ({})", status.phase.name(), end.name()),
        None => status.phase.name().to_owned(),
    };
    if is_shadow(status) { format!("{phase}, shadow mode") } else { phase }
}

fn is_shadow(status: &Status) -> bool {
    status.mode == "shadow"
}

fn left(status: &Status) -> String {
    status.seconds_left.map_or_else(|| "-".to_owned(), |left| format!("{left:.0} s"))
}

fn hits(fault: &FaultStatus) -> u64 {
    fault.injected + fault.skipped.get("shadow").copied().unwrap_or(0)
}

fn row(status: &Status) -> Vec<String> {
    let known = [&status.next_start, &status.ended, &status.started];
    let since = known.into_iter().flatten().next().unwrap_or(&status.applied);
    vec![
        status.name.clone(),
        phase(status),
        printable(&status.target),
        left(status),
        status.faults.iter().map(hits).sum::<u64>().to_string(),
        status.faults.iter().map(|fault| fault.matched).sum::<u64>().to_string(),
        since.clone(),
    ]
}

fn details(status: &Status) -> String {
    let mut text = line(status);
    if let Some(hypothesis) = &status.hypothesis {
        text += &format!("  hypothesis: {}\n", printable(hypothesis));
    }
    let shadow = if is_shadow(status) { ", in shadow mode: nothing is hit" } else { "" };
    text += &format!("  target: {}{shadow}\n", printable(&status.target));
    text += &match status.seconds_left {
        Some(left) => format!("  time box: {left:.0} s left of {:.0} s\n", status.duration_seconds),
        None => format!("  time box: {:.0} s\n", status.duration_seconds),
    };
    text += &format!("  schedule: {}; runs so far: {}\n", printable(&status.schedule), status.runs);
    for (what, time) in [
        ("applied", Some(&status.applied)),
        ("started", status.started.as_ref()),
        ("ended", status.ended.as_ref()),
    ] {
        text += &time.map_or_else(String::new, |time| format!("  {what}: {time}\n"));
    }
    for fault in &status.faults {
        let hit = if is_shadow(status) { "would have been hit" } else { "hit" };
        text += &format!(
            "  {} ({}): {} {hit} of {} matched\n",
            fault.name,
            fault.kind,
            hits(fault),
            fault.matched
        );
    }
    text
}
