//! `kchaos clean`: removes what a killed kchaos could not remove itself.

use serde_json::json;

use super::{Exit, Failure, Format, output};
use crate::target::{Hierarchy, remove_leftovers};

/// Arguments of `kchaos clean`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    let removed: Vec<String> =
        remove_leftovers(&Hierarchy::find()?).into_iter().map(|p| p.display().to_string()).collect();
    match args.output {
        Format::Json => output::json(&json!({ "removed": removed }))?,
        Format::Text if removed.is_empty() => output::text("nothing was left behind\n")?,
        Format::Text => output::text(&format!("removed {}\n", removed.join("\nremoved ")))?,
    }
    Ok(Exit::Done)
}
