//! `kchaos clean`: removes what a killed kchaos could not remove itself.

use serde_json::json;

use super::{Exit, Failure, Format, output};
use crate::guard::{
    capabilities,
    leftovers::{self, Cleaned},
};

/// Arguments of `kchaos clean`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    // Without it, leftovers could not be told from what is in use, and "nothing was left behind" would be a lie.
    capabilities::check_clean()?;
    let Cleaned { removed, stuck } = leftovers::clean()?;
    match args.output {
        Format::Json => output::json(&json!({ "removed": removed, "stuck": stuck }))?,
        Format::Text if removed.is_empty() && stuck.is_empty() => output::text("nothing was left behind\n")?,
        Format::Text => {
            output::text(&removed.iter().map(|p| format!("removed {p}\n")).collect::<Vec<_>>().concat())?;
        }
    }
    if stuck.is_empty() {
        Ok(Exit::Done)
    } else {
        Err(Failure::Host(format!("could not remove {}", stuck.join(", "))))
    }
}
