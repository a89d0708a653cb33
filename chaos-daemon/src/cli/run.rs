//! `kchaos run FILE`: one experiment from a file, in the foreground, now: outside its windows it is refused, and so is
//! one that repeats, since only the daemon waits. A dry run starts nothing, so it takes these files, too.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit, Failure, Format,
    foreground::{self, Origin},
    output,
};
use crate::config::{self, Mode};

/// Arguments of `kchaos run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The experiment, a TOML file; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Check everything that can be checked without touching the kernel, and apply nothing
    #[arg(long)]
    dry_run: bool,
    /// Count what would be hit, hit nothing
    #[arg(long)]
    shadow: bool,
    #[command(flatten)]
    pub(super) foreground: foreground::Args,
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    let mut experiment = config::load(&args.file)?;
    if args.shadow {
        experiment.mode = Mode::Shadow;
    }
    if args.dry_run {
        foreground::dry_run(&experiment)?;
        match args.foreground.output {
            Format::Text => eprintln!("{}: the file is right; nothing was applied", args.file.display()),
            Format::Json => output::json(&json!({ "experiment": experiment.name, "right": true }))?,
        }
        return Ok(Exit::Done);
    }
    experiment.may_start_in_foreground(Timestamp::now())?;
    let path = Some(args.file.as_path()).filter(|path| *path != Path::new("-"));
    foreground::run(experiment, &args.foreground, Origin { through: "run", path })
}
