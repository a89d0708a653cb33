//! `cargo xtask`: the commands that build, test and measure kchaos, on any Debian or Ubuntu machine.
//!
//! They are a crate and not a heap of scripts so that they are checked like everything else. Each command
//! brings the machine to the state it needs first, so none of them has to be preceded by another.

mod bench;
mod build;
mod demo;
mod elf;
mod fuzz;
mod long;
mod matrix;
mod setup;
mod sh;
mod test;
// The build script's own code: what `setup` checks is exactly what the build needs.
#[path = "../../chaos-daemon/build/toolchain.rs"]
mod toolchain;
mod version;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, test and measure kchaos.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing on this machine to build and test (every other command does this by itself)
    Setup(setup::Args),
    /// Build target/kchaos: one static binary with the eBPF programs inside
    Build,
    /// Build, then run `kchaos demo`
    Demo(demo::Args),
    /// Check formatting, lints, licences and every test, in that order
    Test(test::Args),
    /// Build, then run kchaos or another command on other kernels, in virtual machines
    Vm(vm::Args),
    /// Build, then measure
    Bench(bench::Args),
    /// Start and end containers beside an experiment, and see that only the target is hit
    Churn(long::Churn),
    /// Make requests up for the control API, and see that it answers as its document says
    Fuzz(fuzz::Args),
    /// Kill daemons at any moment, and see that nothing stays in force
    Kills(long::Rounds),
    /// Halt fifty experiments at once, again and again, and look at when each injected last
    Halts(long::Rounds),
    /// Hand experiments over, many in a second, and see that nothing grows
    Soak(long::Soak),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::main(&args).map(done),
        Command::Build => build::main().map(done),
        Command::Demo(args) => demo::main(&args),
        Command::Test(args) => test::main(&args).map(done),
        // The code of what ran in the guest.
        Command::Vm(args) => vm::main(&args),
        Command::Bench(args) => bench::main(&args).map(done),
        Command::Churn(args) => long::churn(&args).map(done),
        Command::Fuzz(args) => fuzz::main(&args).map(done),
        Command::Kills(args) => long::kills(&args).map(done),
        Command::Halts(args) => long::halts(&args).map(done),
        Command::Soak(args) => long::soak(&args).map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
