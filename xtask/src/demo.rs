//! `cargo xtask demo`: from a fresh checkout to the tour of what kchaos does, in one command.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::{build, setup, sh};

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Handed on to `kchaos demo`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    setup::ensure(setup::Purpose::Build)?;
    let binary = build::binary()?;
    let mut demo = sh::as_root(&binary).with_context(|| {
        format!("the demo needs root, and there is no sudo; run as root: {} demo", binary.display())
    })?;
    // In place of this process: Ctrl-C and the exit code are then the demo's own.
    let error = demo.arg("demo").args(&args.args).exec();
    Err(error).with_context(|| format!("cannot start `{}`", sh::shown(&demo)))
}
