//! `cargo xtask demo`: from a fresh checkout to the tour of what kchaos does, in one command.
//!
//! On this machine, or with `--kernel` on another kernel, in a virtual machine.

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    build, setup, sh,
    vm::{self, Choice, Job, Lab, Shown},
};

/// The tour takes a minute or two, and several times as long in a guest that is translated.
const LIMIT: Duration = Duration::from_mins(20);

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Show it on another kernel, in a virtual machine: a line of Debian's (5.10, 6.1, 6.12, 7.2) or a vmlinuz
    #[arg(long, value_name = "LINE|PATH")]
    kernel: Option<Choice>,
    /// The modules of the kernel whose path is given: the folder that holds modules.dep
    #[arg(long, value_name = "DIR", requires = "kernel")]
    modules: Option<PathBuf>,
    /// Handed on to `kchaos demo`; options of this command come before them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    handed_on: Vec<String>,
}

/// Runs the command.
pub fn main(args: &Args) -> Result<ExitCode> {
    if let Some(choice) = &args.kernel {
        return elsewhere(choice, args);
    }
    setup::ensure(setup::Purpose::Build)?;
    let binary = build::binary()?;
    let mut demo = sh::as_root(&binary).with_context(|| {
        format!("the demo needs root, and there is no sudo; run as root: {} demo", binary.display())
    })?;
    // In place of this process: Ctrl-C and the exit code are then the demo's own.
    let error = demo.arg("demo").args(&args.handed_on).exec();
    Err(error).with_context(|| format!("cannot start `{}`", sh::shown(&demo)))
}

/// The demo in a guest.
fn elsewhere(choice: &Choice, args: &Args) -> Result<ExitCode> {
    if args.modules.is_some() && !matches!(choice, Choice::File(_)) {
        bail!("{}", vm::FOREIGN_MODULES);
    }
    let lab = Lab::new()?;
    let kchaos = build::binary()?;
    let kernel = lab.kernel(choice, args.modules.as_deref())?;
    if lab.accelerator(&kernel)?.slow() > 1 {
        eprintln!(
            "demo     the guest is translated, as there is no KVM that works here: everything that \
             computes takes several times as long as on a real machine"
        );
    }
    let words: Vec<String> =
        ["kchaos", "demo"].into_iter().map(str::to_owned).chain(args.handed_on.iter().cloned()).collect();
    let (command, programs) = vm::command(&words, &[], &kchaos)?;
    let job = Job {
        command: &command,
        environment: &[],
        programs: &programs,
        files: &[],
        limit: LIMIT,
        report: None,
        terminal: None,
        counted: false,
    };
    let run = lab.run(&kernel, &job, &mut Shown)?;
    Ok(ExitCode::from(vm::report(&kernel, &run)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Args, Choice};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn what_is_not_ours_is_handed_on() {
        let words = "demo --kernel 5.10 --seed 3 --kernel x".split(' ');
        let Cli { args } = Cli::try_parse_from(words).unwrap();
        assert_eq!(args.kernel, Some(Choice::Line("5.10")));
        assert_eq!(args.handed_on, ["--seed", "3", "--kernel", "x"]);
        assert!(Cli::try_parse_from(["demo", "--modules", "/m"]).is_err(), "modules of no kernel");
    }
}
