//! `cargo xtask churn`: containers that come and go beside an experiment, for as long as one likes.
//!
//! It is a test of the suite, which runs for 15 s there; here it goes on for ten minutes.

use anyhow::{Context as _, Result, bail};

use crate::{matrix::Suite, setup, sh};

/// The test, in `tests/host/pods.rs`.
const TEST: &str = "pods::neighbours_are_never_hit_while_containers_come_and_go";

/// Arguments of `cargo xtask churn`.
#[derive(clap::Args)]
pub struct Args {
    /// For how long, in seconds
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    let suite = Suite::build()?;
    let mut command = sh::as_root("env").context("this needs root, and there is no sudo: run it as root")?;
    command
        .args(suite.environment(None))
        .arg(format!("KCHAOS_CHURN={}", args.seconds))
        .arg(&suite.tests)
        .args(["--nocapture", "--exact", TEST]);
    let status = command.status().context("cannot start the suite")?;
    if !status.success() {
        bail!("{TEST} failed");
    }
    Ok(())
}
