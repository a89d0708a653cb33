//! What a person types: one file per verb. Results go to standard output, everything else to standard error; exit codes
//! are decided in [`exit`] and nowhere else.

mod check;
mod clean;
mod demo;
mod exit;
mod foreground;
mod halt;
mod inject;
mod output;
mod preview;
mod progress;
mod report;
mod run;
mod sandbox;
mod shell;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::{Exit, Failure};
pub use output::Format;

/// In-kernel fault injection for one service, for a limited time, with proof of what was done.
#[derive(Debug, Parser)]
#[command(name = "kchaos", version, max_term_width = 110, propagate_version = false, after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "Exit codes:
  0   the command did its work
  2   bad input; nothing was applied
  3   the experiment was stopped before its time box was over (Ctrl-C, SIGTERM, SIGHUP,
      kchaos halt, or because its target went away)
  4   this host cannot do it: a capability, a kernel feature or a free place is missing
  70  a bug in kchaos

To stop everything at once, from any terminal: kchaos halt --all";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what this host and kernel can do, what they cannot, and why
    Check(check::Args),
    /// Run the experiment in a file, in the foreground
    Run(run::Args),
    /// Show what the experiment in a file would touch now: processes, sockets, devices, addresses
    Preview(preview::Args),
    /// Stop experiments at once
    Halt(halt::Args),
    /// Remove what a killed kchaos may have left behind: the cgroup of a command and what runs in it, two settings
    /// of lo that delays take, and on kernels before 6.6 tc filters
    Clean(clean::Args),
    /// A tour: a small service and its client, a baseline, then each fault this kernel can do
    Demo(demo::Args),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Print a manual page
    Man(shell::ManArgs),
    /// Sends a packet to itself, or connects (used by `check` itself)
    #[command(hide = true)]
    TryOut(check::TryOutArgs),
    /// The demo's service (used by `demo` itself)
    #[command(hide = true)]
    DemoServe(demo::ServeArgs),
    /// The demo's client (used by `demo` itself)
    #[command(hide = true)]
    DemoLoad(demo::LoadArgs),
}

/// The whole command line, with the kinds of faults below `inject`.
pub fn command() -> clap::Command {
    Args::command().subcommand(inject::command())
}

/// Runs the command line and answers with its exit code.
pub fn main() -> ExitCode {
    output::init();
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return exit::usage(error),
    };
    if let Some(("inject", inject)) = matches.subcommand() {
        let format = inject::format(inject);
        return exit::report(inject::main(inject), format);
    }
    let args = match Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => return exit::usage(error),
    };
    match args.verb {
        Verb::Check(args) => exit::report(check::main(&args), args.output),
        Verb::Run(args) => exit::report(run::main(&args), args.foreground.output),
        Verb::Preview(args) => exit::report(preview::main(&args), args.output),
        Verb::Halt(args) => exit::report(halt::main(&args), args.output),
        Verb::Clean(args) => exit::report(clean::main(&args), args.output),
        Verb::Demo(args) => exit::report(demo::main(&args), args.output),
        Verb::Completions(args) => exit::report(shell::completions(&args), Format::Text),
        Verb::Man(args) => exit::report(shell::man(&args), Format::Text),
        Verb::TryOut(args) => exit::report(check::try_out(&args), Format::Text),
        Verb::DemoServe(args) => exit::report(demo::serve(&args), Format::Text),
        Verb::DemoLoad(args) => exit::report(demo::load(&args), Format::Text),
    }
}
