//! `kchaos keep`: the process that puts back what faults hold in cgroups when its kchaos is killed or stopped.

use anyhow::Context;

use super::{Exit, Failure};
use crate::resource::keeper;

/// Arguments of the keeper.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose experiment
    owner: String,
}

/// Keeps watch at its standard input.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    keeper::keep(&args.owner).context("putting back what a fault held")?;
    Ok(Exit::Done)
}
