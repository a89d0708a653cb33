//! `cargo xtask bench`: what kchaos costs, measured on the binary that is shipped.

mod call;
mod delay;

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{
    build, setup, sh,
    vm::{Choice, LINES},
};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = Name::All)]
    name: Name,
    /// Fewer rounds: enough to see that it works, not to compare
    #[arg(long)]
    quick: bool,
    /// Where delays are compared with netem and instructions of calls are counted: a line of Debian's kernels (5.10, 6.1,
    /// 6.12, 7.2) or the path of a vmlinuz. Without it: 6.12 for delays, every line for calls
    #[arg(long, value_name = "LINE|PATH")]
    kernel: Option<Choice>,
    /// Of delays only this: accuracy, spread, bursts, throughput, rate, ends
    #[arg(long)]
    only: Option<String>,
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
    /// Delays: in a guest against netem, on this machine against noxious
    Delay,
    /// What calls cost while others' fail, in instructions, in guests that count them
    Call,
    /// Everything
    All,
}

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    let binary = build::binary()?;
    if matches!(args.name, Name::Call | Name::All) {
        let lines = LINES.iter().map(|(line, _)| Choice::Line(line));
        let kernels: Vec<Choice> = args.kernel.clone().map_or_else(|| lines.collect(), |kernel| vec![kernel]);
        call::run(&binary, &kernels, args.quick)?;
    }
    match args.name {
        Name::Call => Ok(()),
        _ => measure(&binary, args, Some(args.kernel.clone().map_or_else(most_common, Ok)?).as_ref()),
    }
}

/// Of the kernels that let go of programs by themselves, the one that most machines have.
fn most_common() -> Result<Choice> {
    "6.12".parse().map_err(anyhow::Error::msg)
}

/// Everything, in its short version; in a guest only where there are any.
pub fn quick(binary: &Path, guests: bool) -> Result<()> {
    let kernel = guests.then(most_common).transpose()?;
    if let Some(kernel) = &kernel {
        call::run(binary, std::slice::from_ref(kernel), true)?;
    }
    measure(binary, &Args { name: Name::All, quick: true, kernel: None, only: None }, kernel.as_ref())
}

fn measure(binary: &Path, args: &Args, kernel: Option<&Choice>) -> Result<()> {
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
        // Measured in guests, and before.
        Name::Call => return Ok(()),
        Name::All => "all",
    };
    let mut words = vec![name.to_owned()];
    words.extend(args.quick.then(|| "--quick".to_owned()));
    if matches!(args.name, Name::Delay | Name::All) {
        words.extend(args.only.iter().flat_map(|only| ["--only".to_owned(), only.clone()]));
        let beside = delay::beside(&bench, binary, args, kernel)?;
        command.args(beside.environment);
        words.extend(beside.arguments);
    }
    sh::run(command.arg(bench).args(words))
}
