//! `cargo xtask bench`: what kchaos costs, measured on the binary that is shipped.

mod delay;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{build, setup, sh, vm::Choice};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = Name::All)]
    name: Name,
    /// Fewer rounds: enough to see that it works, not to compare
    #[arg(long)]
    quick: bool,
    /// Where delays are compared with netem: a line of Debian's kernels (5.10, 6.1, 6.12, 7.2) or the path of a vmlinuz
    #[arg(long, value_name = "LINE|PATH", default_value = DELAY_KERNEL)]
    kernel: Option<Choice>,
    /// Of delays only this: accuracy, spread, bursts, throughput, rate, ends
    #[arg(long)]
    only: Option<String>,
}

/// Of the kernels that let go of programs by themselves, the one that most machines have.
const DELAY_KERNEL: &str = "6.12";

/// A set of measurements.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// From the start of the binary to the first fault
    Startup,
    /// What one packet costs
    Packet,
    /// What matching costs with ever more rules, and against nftables; how fast rules are replaced
    Match,
    /// Delays: in a guest against netem, on this machine against noxious
    Delay,
    /// Everything
    All,
}

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    measure(&build::binary()?, args)
}

/// Everything, in its short version; in a guest only where there are any.
pub fn quick(binary: &Path, guests: bool) -> Result<()> {
    let kernel = guests.then(|| DELAY_KERNEL.parse().map_err(anyhow::Error::msg)).transpose()?;
    measure(binary, &Args { name: Name::All, quick: true, kernel, only: None })
}

fn measure(binary: &Path, args: &Args) -> Result<()> {
    // The benchmark starts its sibling, the target of its faults: build both, or it would take an old one.
    let bench = build::static_program("kchaos-tests", "kchaos-bench")?;
    let kct = build::static_program("kchaos-tests", "kct")?;
    let mut command = sh::as_root("env").context("this needs root, and there is no sudo: run it as root")?;
    command.arg(format!("KCHAOS_BIN={}", binary.display())).arg(format!("KCHAOS_KCT={}", kct.display()));
    let name = match args.name {
        Name::Startup => "startup",
        Name::Packet => "packet",
        Name::Match => "match",
        Name::Delay => "delay",
        Name::All => "all",
    };
    let mut words = vec![name.to_owned()];
    words.extend(args.quick.then(|| "--quick".to_owned()));
    if matches!(args.name, Name::Delay | Name::All) {
        words.extend(args.only.iter().flat_map(|only| ["--only".to_owned(), only.clone()]));
        let beside = delay::beside(&bench, binary, args)?;
        command.args(beside.environment);
        words.extend(beside.arguments);
    }
    sh::run(command.arg(bench).args(words))
}
