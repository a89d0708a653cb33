//! `cargo xtask vm`: runs kchaos, or anything else, on other kernels than this machine's.
//!
//! Standard output is the command's, and the exit code too; what we have to say goes to standard error.

mod console;
mod cpio;
mod debian;
mod image;
mod initramfs;
mod kernel;
mod lab;
mod machine;
mod modules;
mod terminal;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

pub use kernel::{Choice, Kernel, LINES};
pub use lab::{Job, Lab, Run};
pub use machine::{Accelerator, Audience};

use crate::{build, sh};
use terminal::Terminal;

/// Said of modules that cannot belong to a kernel.
pub const FOREIGN_MODULES: &str =
    "--modules belongs to a kernel whose path is given; Debian's come with theirs";

/// Nobody works in one for longer.
const SHELL_LIMIT: Duration = Duration::from_hours(24);

/// What else is wanted where one types.
const SHELL_COMPANIONS: [&str; 9] = ["uname", "stty", "dmesg", "grep", "head", "mount", "ps", "rm", "mkdir"];

/// Programs that come along where this machine has them.
const COMPANIONS: [&str; 7] = ["sh", "cat", "env", "ls", "sleep", "ip", "tc"];

/// Arguments of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    /// A line of Debian's kernels (5.10, 6.1, 6.12, 7.2) or the path of a vmlinuz; more than one may be given
    #[arg(long = "kernel", value_name = "LINE|PATH", default_value = "6.1")]
    kernels: Vec<Choice>,
    /// The modules of the kernel whose path is given: the folder that holds modules.dep
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// A program that the command needs, by name or path; it is put into the guest's /bin
    #[arg(long = "with", value_name = "PROGRAM")]
    programs: Vec<String>,
    /// A variable of the command's environment
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<String>,
    /// How long the command may run, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Keep what the command writes into the file that `KCHAOS_REPORT` names
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Open a shell there instead of running a command
    #[arg(long, conflicts_with_all = ["command", "timeout"])]
    shell: bool,
    /// What to run there
    #[arg(last = true, value_name = "COMMAND", default_values = ["kchaos", "check", "--output", "json"])]
    command: Vec<String>,
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("a variable is written NAME=VALUE".into()),
    }
}

/// Runs the command on every kernel asked for; the exit code is the first that is not zero.
pub fn main(args: &Args) -> Result<ExitCode> {
    // Before any thread is made.
    let terminal = args.shell.then(Terminal::hold).transpose()?;
    let modules = args.modules.as_deref();
    check_modules(&args.kernels, modules)?;
    let lab = Lab::new()?;
    let kchaos = build::binary()?;
    let mut code = 0;
    for choice in &args.kernels {
        let kernel = lab.kernel(choice, modules)?;
        let ended = if let Some(terminal) = &terminal {
            shell(&lab, &kernel, args, &kchaos, terminal)?
        } else {
            let (command, programs) = command(&args.command, &args.programs, &kchaos)?;
            let job = Job { programs: &programs, ..job(args, &command) };
            lab.run(&kernel, &job, &mut Shown).map(|run| report(&kernel, &run))?
        };
        if code == 0 {
            code = ended;
        }
    }
    Ok(ExitCode::from(code))
}

/// Refuses modules that cannot belong to the kernels.
fn check_modules(kernels: &[Choice], modules: Option<&Path>) -> Result<()> {
    if modules.is_some() && !kernels.iter().all(|kernel| matches!(kernel, Choice::File(_))) {
        bail!(FOREIGN_MODULES);
    }
    Ok(())
}

fn job<'a>(args: &'a Args, command: &'a [String]) -> Job<'a> {
    Job {
        command,
        environment: &args.environment,
        programs: &[],
        files: &[],
        limit: Duration::from_secs(args.timeout),
        report: args.report.as_deref(),
        terminal: None,
        counted: false,
    }
}

/// A shell, for as long as the user wants.
fn shell(lab: &Lab, kernel: &Kernel, args: &Args, kchaos: &Path, terminal: &Terminal) -> Result<u8> {
    let shell = if sh::find_system("bash").is_some() { "bash" } else { "sh" };
    let tools = SHELL_COMPANIONS.iter().filter(|name| sh::find_system(name).is_some());
    let wanted: Vec<String> =
        tools.map(|name| (*name).to_owned()).chain(args.programs.iter().cloned()).collect();
    let (command, programs) = command(&[shell.to_owned()], &wanted, kchaos)?;
    eprintln!("vm       a shell on kernel {}; it ends with `exit`", kernel.name);
    let job =
        Job { programs: &programs, limit: SHELL_LIMIT, terminal: Some(terminal), ..job(args, &command) };
    let ended = {
        let _raw = terminal.raw()?;
        lab.run(kernel, &job, &mut Shown)
    };
    Ok(report(kernel, &ended?))
}

/// Says how it went, and returns the command's code.
pub fn report(kernel: &Kernel, run: &Run) -> u8 {
    eprintln!(
        "vm       kernel {}: booted in {:.1} s, ended with code {} after {:.1} s",
        kernel.name,
        run.boot.as_secs_f64(),
        run.code,
        run.seconds.as_secs_f64()
    );
    run.code
}

/// Copies the command's output to ours as it comes.
pub struct Shown;

impl Audience for Shown {
    fn output(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut output = io::stdout();
        output.write_all(bytes).and_then(|()| output.flush())
    }
}

/// The command as it is called in the guest, and what is put there: kchaos, the command's program, what was
/// asked for, and what is often wanted.
pub fn command(command: &[String], wanted: &[String], kchaos: &Path) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let mut found = vec![kchaos.to_path_buf()];
    for name in command.iter().take(1).chain(wanted) {
        if name != "kchaos" {
            let path = if name.contains('/') { Some(PathBuf::from(name)) } else { sh::find_system(name) };
            found.push(path.with_context(|| format!("there is no program {name} here to take along"))?);
        }
    }
    found.extend(COMPANIONS.iter().filter_map(|name| sh::find_system(name)));
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut() {
        *program = base_name(program);
    }
    Ok((command, found))
}

fn base_name(program: &str) -> String {
    program.rsplit('/').next().unwrap_or(program).to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Args, Choice, base_name};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, String> {
        let words = std::iter::once("vm").chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_arguments_the_kernel_is_checked() {
        let args = parse("").unwrap();
        assert_eq!(args.kernels, [Choice::Line("6.1")]);
        assert_eq!(args.command, ["kchaos", "check", "--output", "json"]);
        assert!(args.environment.is_empty() && args.programs.is_empty());
    }

    #[test]
    fn the_command_keeps_its_own_options() {
        let args = parse("--kernel 5.10 --kernel ./vmlinuz --with tc --env A=b=c -- ip -o link").unwrap();
        assert_eq!(args.kernels, [Choice::Line("5.10"), Choice::File("./vmlinuz".into())]);
        assert_eq!(args.command, ["ip", "-o", "link"]);
        assert_eq!(args.programs, ["tc"]);
        assert_eq!(args.environment, ["A=b=c"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(parse("--shell").unwrap().shell);
        assert!(parse("--shell -- ip link").is_err(), "a shell or a command");
        assert!(parse("--kernel 4.19").is_err_and(|error| error.contains("there is a kernel for")));
        assert!(parse("--env NAME").is_err_and(|error| error.contains("NAME=VALUE")));
        assert!(parse("--timeout soon").is_err());
        assert!(parse("ip link").is_err(), "the command comes after --");
    }

    #[test]
    fn a_command_is_found_by_its_name_in_the_guest() {
        assert_eq!(base_name("target/release/kct"), "kct");
        assert_eq!(base_name("kchaos"), "kchaos");
    }
}
