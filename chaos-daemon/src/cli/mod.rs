//! What a person types: one file per verb. Results go to standard output, everything else to standard error; exit codes
//! are decided in [`exit`] and nowhere else.

mod apply;
mod check;
mod clean;
mod connection;
mod daemon;
mod demo;
mod events;
mod exit;
mod foreground;
mod halt;
mod inject;
mod keep;
mod output;
mod preview;
mod progress;
mod record;
mod recorder;
mod report;
mod run;
mod sandbox;
mod shell;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::Exit;
pub use output::Format;

pub use crate::failure::Failure;
use crate::target;

/// In-kernel fault injection for one service, for a limited time, with proof of what was done.
#[derive(Debug, Parser)]
#[command(name = "kchaos", version, max_term_width = 110, propagate_version = false, after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "Exit codes:
  0   the command did its work, and the hypothesis held, if there was one to find out about
  1   the hypothesis did not hold
  2   bad input; nothing was applied
  3   the experiment was stopped before its time box was over (Ctrl-C, SIGTERM, SIGHUP,
      kchaos halt, a stop condition, or because its target went away), or a stop condition
      held already and nothing was applied
  4   this host cannot do it: a capability, a kernel feature or a free place is missing
  5   nothing was learned about the hypothesis: no steady state to begin with (nothing was
      applied), nothing was hit, or a probe could not be measured
  70  a bug in kchaos

To stop everything at once, from any terminal: sudo kchaos halt --all";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what this host and kernel can do, what they cannot, and why
    Check(check::Args),
    /// Run the experiment in a file, in the foreground
    Run(run::Args),
    /// Show what the experiment in a file would touch now: processes, sockets, devices, addresses
    Preview(preview::Args),
    /// Run the node daemon: experiments are handed over at its control socket
    Daemon(daemon::Args),
    /// Hand an experiment over to the daemon
    Apply(apply::Args),
    /// List the daemon's experiments
    List(status::ListArgs),
    /// Show the daemon's experiments, with what their faults have done
    Status(status::Args),
    /// Show what happens to the daemon's experiments
    Events(events::Args),
    /// Show what experiments did: the last result of one of the daemon's, or the records of runs (list, show, search)
    Record(record::Args),
    /// Stop experiments at once
    Halt(halt::Args),
    /// Remove what a killed kchaos may have left behind: the cgroup of a command and what runs in it, two settings
    /// of lo that delays take, what was held in cgroups, and on kernels before 6.6 tc filters
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
    /// Puts back what is held in cgroups when its kchaos cannot (used by experiments themselves)
    #[command(hide = true)]
    Keep(keep::Args),
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
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return exit::usage(error),
    };
    target::leave_cgroup_namespace();
    // The daemon writes a log; what it is like stands in its settings.
    if matches.subcommand_name() != Some("daemon") {
        output::init();
    }
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
        Verb::Daemon(args) => exit::report(daemon::main(&args), Format::Text),
        Verb::Apply(args) => exit::report(apply::main(&args), args.connection.output),
        Verb::List(args) => exit::report(status::list(&args), args.connection.output),
        Verb::Status(args) => exit::report(status::main(&args), args.connection.output),
        Verb::Events(args) => exit::report(events::main(&args), args.connection.output),
        Verb::Record(args) => exit::report(record::main(&args), args.format()),
        Verb::Halt(args) => exit::report(halt::main(&args), args.connection.output),
        Verb::Clean(args) => exit::report(clean::main(&args), args.output),
        Verb::Demo(args) => exit::report(demo::main(&args), args.output),
        Verb::Completions(args) => exit::report(shell::completions(&args), Format::Text),
        Verb::Man(args) => exit::report(shell::man(&args), Format::Text),
        Verb::TryOut(args) => exit::report(check::try_out(&args), Format::Text),
        Verb::Keep(args) => exit::report(keep::main(&args), Format::Text),
        Verb::DemoServe(args) => exit::report(demo::serve(&args), Format::Text),
        Verb::DemoLoad(args) => exit::report(demo::load(&args), Format::Text),
    }
}
