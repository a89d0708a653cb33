//! `kchaos halt --all`: every experiment on the host, off at once.

use serde_json::json;

use super::{Exit, Failure, Format, output};
use crate::{
    bpf::{self, Halted},
    guard::capabilities,
};

/// Arguments of `kchaos halt`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Every experiment on this host, whoever started it, also if it hangs
    #[arg(long, required = true)]
    all: bool,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Runs it. The faults are off in the kernel when this returns; their owners notice within a fraction of a second, detach
/// and report.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    capabilities::check_halt()?;
    let Halted { halted, failed } = bpf::halt_all()?;
    match args.output {
        Format::Json => output::json(&json!({ "halted": halted, "failed": failed }))?,
        Format::Text if halted == 0 && failed.is_empty() => {
            output::text("no experiment is running on this host\n")?;
        }
        Format::Text => output::text(&format!("halted {halted}: they inject nothing any more\n"))?,
    }
    if failed.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::Host(format!(
        "{} experiments could NOT be halted: {}\nend their kchaos processes (SIGKILL is safe): their faults go with them",
        failed.len(),
        failed.join("; ")
    )))
}
