//! `cargo xtask bench`: what kchaos costs, measured on the binary that is shipped.

use anyhow::Result;
use clap::ValueEnum;

use crate::{build, setup, sh};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = Name::All)]
    name: Name,
    /// Fewer rounds: enough to see that it works, not to compare
    #[arg(long)]
    quick: bool,
}

/// A set of measurements.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// From the start of the binary to the first fault
    Startup,
    /// What one packet costs
    Packet,
    /// What matching costs with ever more rules, and against nftables; how fast rules are replaced
    Match,
    /// Everything
    All,
}

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    let name = match args.name {
        Name::Startup => "startup",
        Name::Packet => "packet",
        Name::Match => "match",
        Name::All => "all",
    };
    measure(&build::binary()?, name, args.quick)
}

/// Everything, in its short version.
pub fn quick(binary: &std::path::Path) -> Result<()> {
    measure(binary, "all", true)
}

fn measure(binary: &std::path::Path, name: &str, quick: bool) -> Result<()> {
    // The benchmark starts its sibling, the target of its faults: build both, or it would take an old one.
    let mut cargo = sh::cargo()?;
    cargo.args(["build", "--release", "--package", "kchaos-tests", "--bins"]);
    sh::run(&mut cargo)?;
    let mut cargo = sh::cargo_as_root()?;
    cargo
        .args(["run", "--release", "--package", "kchaos-tests", "--bin", "kchaos-bench", "--", name])
        .args(quick.then_some("--quick"))
        .env("KCHAOS_BIN", binary);
    sh::run(&mut cargo)
}
