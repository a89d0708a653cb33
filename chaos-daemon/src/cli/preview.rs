//! `kchaos preview FILE`: what the experiment would touch now, and what would stop it. Nothing is loaded, attached or
//! started, but for programs that stop conditions run.

use std::{fmt::Write, path::PathBuf};

use super::{Exit, Failure, Format, foreground, output};
use crate::{
    config,
    preview::{self, Preview, Socket, State, StopSeen},
    printable::printable,
};

/// Arguments of `kchaos preview`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment, a TOML file; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    let experiment = config::load(&args.file)?;
    let preview = foreground::runtime()?.block_on(preview::of(&experiment))?;
    match args.output {
        Format::Json => output::json(&preview)?,
        Format::Text => output::text(&text(&preview))?,
    }
    Ok(Exit::Done)
}

/// For people.
fn text(preview: &Preview) -> String {
    let mut text = format!("{} ({}) would touch now:\n", preview.experiment, preview.mode);
    for member in &preview.members {
        line(&mut text, &format!("  {}", printable(member)));
    }
    if preview.picks && !preview.seeded {
        line(
            &mut text,
            &format!("  (chosen with seed {}: a run without `seed` in its file chooses anew)", preview.seed),
        );
    }
    who(&mut text, preview);
    wherever(&mut text, preview);
    if preview.processes.is_empty() {
        line(&mut text, "\nNobody is there yet: what is started in the target will be hit.");
    }
    text
}

/// Processes and their sockets.
fn who(text: &mut String, preview: &Preview) {
    let Preview { processes, sockets, .. } = preview;
    let rows = processes.iter().map(|process| {
        [
            process.pid.to_string(),
            process.program.clone(),
            process.cgroup.clone(),
            process.namespace.to_string(),
            protected(process.protected.as_deref(), preview),
        ]
    });
    table(text, ["process", "processes"], &["pid", "program", "cgroup", "netns", ""], rows);
    let rows = sockets.iter().map(|socket| {
        [
            socket.pid.to_string(),
            socket.program.clone(),
            ends(socket),
            socket.faults.join(", "),
            protected(socket.protected.as_deref(), preview),
        ]
    });
    table(
        text,
        ["socket that a fault looks at", "sockets that a fault looks at"],
        &["pid", "program", "socket", "faults", ""],
        rows,
    );
}

/// Devices, and what the faults look for.
fn wherever(text: &mut String, preview: &Preview) {
    let rows = preview.interfaces.iter().map(|device| {
        let addresses: Vec<String> = device.addresses.iter().map(ToString::to_string).collect();
        [device.namespace.to_string(), device.name.clone(), addresses.join(", ")]
    });
    table(text, ["device", "devices"], &["netns", "device", "addresses"], rows);
    let rows = preview.faults.iter().map(|fault| {
        let peers = if fault.peers.is_empty() { "any".to_owned() } else { fault.peers.join(", ") };
        let names = fault.names.iter().map(|(name, addresses)| {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{name} is {}", list.join(", "))
        });
        let names = names.collect::<Vec<_>>().join("; ");
        let conditions = fault.conditions.join("; ");
        [fault.fault.clone(), fault.effect.clone(), peers, conditions, fault.exclude.join(", "), names]
    });
    let columns = ["fault", "effect", "far ends", "only", "left alone", "names"];
    table(text, ["fault", "faults"], &columns, rows);
    if !preview.stops.is_empty() {
        conditions(text, &preview.stops);
    }
}

/// What would stop it, and how that stands.
fn conditions(text: &mut String, stops: &[StopSeen]) {
    let rows = stops.iter().map(|stop| {
        let why = stop.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let now = match stop.holds {
            Some(true) => format!("HOLDS{why}"),
            Some(false) => "does not hold".to_owned(),
            None => format!("CANNOT BE EVALUATED{why}"),
        };
        [stop.condition.clone(), stop.holds_when.clone(), now]
    });
    table(text, ["stop condition", "stop conditions"], &["condition", "holds when", "now"], rows);
}

/// `10.0.0.1:40112 -> 10.0.0.7:5432 tcp`.
fn ends(socket: &Socket) -> String {
    let Socket { protocol, local, remote, state, .. } = socket;
    match (state, remote) {
        (State::Connected, Some(remote)) => format!("{protocol} {local} -> {remote}"),
        _ => format!("{protocol} {local} listening"),
    }
}

fn protected(why: Option<&str>, preview: &Preview) -> String {
    match why {
        None => String::new(),
        Some(why) if preview.allow_protected => format!("PROTECTED, and hit all the same: {why}"),
        Some(why) => format!("left alone: {why}"),
    }
}

fn table<const N: usize>(
    text: &mut String,
    [one, several]: [&str; 2],
    header: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let rows: Vec<Vec<String>> = rows.map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    line(text, &format!("\n{} {}", rows.len(), if rows.len() == 1 { one } else { several }));
    if !rows.is_empty() {
        line(text, &output::table(header, rows, &[]).to_string());
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(text, "{line}");
}
