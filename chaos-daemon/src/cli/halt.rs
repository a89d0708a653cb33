//! `kchaos halt`: one experiment of the daemon's, or every experiment on the host, off at once.

use std::{thread, time::Duration};

use serde_json::json;

use super::{Exit, Failure, Format, connection, foreground::runtime, output};
use crate::{
    api::client::ClientError,
    bpf::{self, Halted},
    daemon::{self, HaltAnswer},
    engine::boot_ns,
    guard::capabilities,
    resource::journal,
};

/// Arguments of `kchaos halt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One experiment of the daemon's; those of `kchaos run` only by --all
    #[arg(value_name = "NAME", conflicts_with = "all")]
    name: Option<String>,
    /// Every experiment on this host, whoever started it, also if it hangs
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    pub(super) connection: connection::Args,
}

/// How long the daemon may take to say that it has ended its own: they are off already.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs it. The faults are off in the kernel when this returns; their owners notice within a fraction of a second, detach
/// and report.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    match &args.name {
        Some(name) => one(name, args),
        None if args.all => all(args),
        None => Err(Failure::Input(
            "say which: kchaos halt NAME, or everything on this host: kchaos halt --all".to_owned(),
        )),
    }
}

fn one(name: &str, args: &Args) -> Result<Exit, Failure> {
    let path = format!("{}/halt", connection::path(name)?);
    let asked = args.connection.ask(async |client| client.patient_for(PATIENCE).post(&path).await);
    let answer: HaltAnswer = asked.map_err(|failure| match failure {
        Failure::Host(why) => Failure::Host(format!(
            "{why}\nnothing was halted by name. To end every fault on this host: kchaos halt --all"
        )),
        other => other,
    })?;
    match args.connection.output {
        Format::Json => output::json(&answer)?,
        Format::Text if answer.halted.is_empty() => output::text(&format!("{name} was over already\n"))?,
        Format::Text => output::text(&format!("halted {name}: it injects nothing any more\n"))?,
    }
    refuse(&answer.failed)
}

/// In the kernel, whether or not a daemon runs or answers, and at the same time by the daemon: it knows its own, and need
/// not look for them, and what waits for its time is known to nobody else.
fn all(args: &Args) -> Result<Exit, Failure> {
    let received_ns = boot_ns();
    capabilities::check_halt()?;
    let client = args.connection.client().patient_for(PATIENCE);
    let (walked, undone, told) = thread::scope(|scope| {
        let told = scope.spawn(|| runtime().map(|runtime| runtime.block_on(client.post("/v1/halt"))));
        let walked = bpf::halt_all();
        // What acts from user space is ended by its owner; one that hangs cannot. Nor is it asked whether the kernel could be.
        let undone = journal::put_all_back();
        (walked, undone, told.join())
    });
    let Halted { mut halted, mut failed } = walked?;
    failed.extend(undone.failed);
    let mut names = Vec::new();
    match told {
        Ok(Ok(Ok(HaltAnswer { halted: own, others, failed: also, .. }))) => {
            halted = halted.max(own.len() + others);
            names = own;
            failed.extend(also);
        }
        // Without a daemon there is nothing that waits.
        Ok(Ok(Err(ClientError::NoDaemon { .. }))) if !daemon::is_running() => {}
        Ok(Ok(Err(error))) => failed.push(not_told(&error.to_string())),
        Ok(Err(error)) => failed.push(not_told(&format!("{error:#}"))),
        Err(_panicked) => failed.push(not_told("it could not be asked")),
    }
    match args.connection.output {
        Format::Json => {
            output::json(&json!({
                "halted": halted, "names": names, "failed": failed, "received_ns": received_ns
            }))?;
        }
        Format::Text if halted == 0 && names.is_empty() && failed.is_empty() => {
            output::text("no experiment is running on this host\n")?;
        }
        Format::Text => {
            let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            output::text(&format!("halted {halted}{names}: they inject nothing any more\n"))?;
        }
    }
    refuse(&failed)
}

fn not_told(why: &str) -> String {
    format!(
        "all faults are off now, but a daemon runs here and was not reached: what waits there for its time may still start. \
         Say where it listens (--socket PATH), or stop it. ({why})"
    )
}

fn refuse(failed: &[String]) -> Result<Exit, Failure> {
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::Host(format!(
        "not everything could be halted: {}\nto be sure, end the kchaos processes (SIGKILL is safe): their faults go with them",
        failed.join("; ")
    )))
}
