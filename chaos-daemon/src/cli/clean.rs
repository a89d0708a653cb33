//! `kchaos clean`: removes what a killed kchaos could not remove itself.

use std::path::PathBuf;

use serde_json::json;

use super::{Exit, Failure, Format, output};
use crate::target::{Hierarchy, Leftovers, remove_leftovers};

/// Arguments of `kchaos clean`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    let Leftovers { removed, stuck } = remove_leftovers(&Hierarchy::find()?);
    let names =
        |paths: &[PathBuf]| -> Vec<String> { paths.iter().map(|p| p.display().to_string()).collect() };
    let (removed, stuck) = (names(&removed), names(&stuck));
    match args.output {
        Format::Json => output::json(&json!({ "removed": removed, "stuck": stuck }))?,
        Format::Text if removed.is_empty() && stuck.is_empty() => output::text("nothing was left behind\n")?,
        Format::Text => {
            output::text(&removed.iter().map(|p| format!("removed {p}\n")).collect::<Vec<_>>().concat())?;
        }
    }
    if stuck.is_empty() {
        return Ok(Exit::Done);
    }
    let advice = if nix::unistd::geteuid().is_root() {
        "this kernel cannot end a whole cgroup: end the processes in its cgroup.procs"
    } else {
        "run it as root: sudo kchaos clean"
    };
    Err(Failure::Host(format!("could not remove {}; {advice}", stuck.join(", "))))
}
