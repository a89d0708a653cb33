//! `cargo xtask vm`: runs kchaos, or anything else, on other kernels than this machine's.
//!
//! Standard output is the command's, and the exit code too; what we have to say goes to standard error.

mod console;
mod cpio;
mod debian;
mod initramfs;
mod kernel;
mod machine;
mod modules;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{self, ExitCode},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use crate::{build, setup, sh};
use initramfs::Contents;
use kernel::{Choice, Kernel};
use machine::{Accelerator, BOOT_LIMIT, Ending, Guest};

/// How often a guest is started that dies before our init runs: translated kernels do at times.
const BOOTS: u32 = 3;

/// A probe for KVM; a guest that works is up in a second.
const PROBE_LIMIT: Duration = Duration::from_secs(15);

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
    if env::consts::ARCH != "x86_64" {
        bail!("the virtual machines are x86-64, and the programs built here are for {}", env::consts::ARCH);
    }
    if args.modules.is_some() && !args.kernels.iter().all(|kernel| matches!(kernel, Choice::File(_))) {
        bail!("--modules belongs to a kernel whose path is given; Debian's come with theirs");
    }
    setup::ensure(setup::Purpose::Vm)?;
    let work = Work {
        init: build::static_program("kchaos-tests", "kchaos-init")?,
        programs: programs(args, &build::binary()?)?,
        cache: sh::target_dir()?.join("vm"),
    };
    let mut code = 0;
    for choice in &args.kernels {
        let kernel = Kernel::get(choice, args.modules.as_deref(), &work.cache)?;
        let ended = work.boot(&kernel, args).with_context(|| format!("kernel {}", kernel.name))?;
        if code == 0 {
            code = ended;
        }
    }
    Ok(ExitCode::from(code))
}

/// What is the same for every kernel.
struct Work {
    init: PathBuf,
    programs: Vec<PathBuf>,
    cache: PathBuf,
}

impl Work {
    /// Runs the command on one kernel and returns its exit code.
    fn boot(&self, kernel: &Kernel, args: &Args) -> Result<u8> {
        let modules = kernel.modules.as_deref().map(modules::read).transpose()?.unwrap_or_default();
        let folder = self.cache.join("runs").join(process::id().to_string());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let accelerator = self.accelerator(kernel, &folder)?;
        let mut command = args.command.clone();
        if let Some(program) = command.first_mut() {
            *program = base_name(program);
        }
        let mark = mark();
        let (programs, environment) = (&self.programs, &args.environment);
        let contents = Contents {
            init: &self.init,
            programs,
            modules: &modules,
            command: &command,
            environment,
            mark: &mark,
        };
        let initramfs = write(&folder, &contents)?;
        let guest = Guest {
            image: &kernel.image,
            initramfs: &initramfs,
            console: folder.join("console.log"),
            mark: &mark,
            accelerator,
            boot_limit: BOOT_LIMIT,
            limit: Duration::from_secs(args.timeout),
        };
        let started = Instant::now();
        let (code, boot) = until_it_starts(&guest)?;
        eprintln!(
            "vm       kernel {}: booted in {:.1} s, ended with code {code} after {:.1} s",
            kernel.name,
            boot.as_secs_f64(),
            started.elapsed().as_secs_f64()
        );
        // Kept when something went wrong.
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        Ok(code)
    }

    /// KVM only where a guest of this kernel really boots under it; asked once per boot of the host.
    fn accelerator(&self, kernel: &Kernel, folder: &Path) -> Result<Accelerator> {
        let usable = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if !usable {
            return Ok(Accelerator::Tcg);
        }
        let known = self.cache.join("kvm");
        let host = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let before = fs::read_to_string(&known).unwrap_or_default();
        let works = match before.strip_prefix(&host) {
            Some(answer) if !host.is_empty() => answer == "works",
            _ => {
                let works = self.kvm_works(kernel, folder)?;
                fs::write(&known, format!("{host}{}", if works { "works" } else { "hangs" }))?;
                works
            }
        };
        Ok(if works { Accelerator::Kvm } else { Accelerator::Tcg })
    }

    fn kvm_works(&self, kernel: &Kernel, folder: &Path) -> Result<bool> {
        let mark = mark();
        let contents = Contents {
            init: &self.init,
            programs: &[],
            modules: &[],
            command: &[],
            environment: &[],
            mark: &mark,
        };
        let initramfs = write(folder, &contents)?;
        let guest = Guest {
            image: &kernel.image,
            initramfs: &initramfs,
            console: folder.join("kvm.log"),
            mark: &mark,
            accelerator: Accelerator::Kvm,
            boot_limit: PROBE_LIMIT,
            limit: PROBE_LIMIT,
        };
        let works = matches!(guest.run(&mut io::sink()), Ok(Ending::Exited(0, _)));
        if !works {
            eprintln!("vm       a guest does not boot under this machine's KVM; translating instead");
        }
        Ok(works)
    }
}

/// Boots again what died before our init ran.
fn until_it_starts(guest: &Guest) -> Result<(u8, Duration)> {
    let mut reason = String::new();
    for boot in 1..=BOOTS {
        match guest.run(&mut io::stdout())? {
            Ending::Exited(code, boot) => return Ok((code, boot)),
            Ending::NeverStarted(why) => {
                eprintln!("vm       boot {boot} of {BOOTS} died before the command: {why}");
                reason = why;
            }
        }
    }
    bail!("the guest died {BOOTS} times before its init had started: {reason}")
}

fn write(folder: &Path, contents: &Contents) -> Result<PathBuf> {
    let file = folder.join("initramfs.cpio");
    fs::write(&file, initramfs::build(contents)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// What is put into the guest: kchaos, the command, what was asked for, and what is often wanted.
fn programs(args: &Args, kchaos: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![kchaos.to_path_buf()];
    for name in args.command.iter().take(1).chain(&args.programs) {
        if name != "kchaos" {
            let path = if name.contains('/') { Some(PathBuf::from(name)) } else { sh::find_system(name) };
            found.push(path.with_context(|| format!("there is no program {name} here to take along"))?);
        }
    }
    found.extend(COMPANIONS.iter().filter_map(|name| sh::find_system(name)));
    Ok(found)
}

fn base_name(program: &str) -> String {
    program.rsplit('/').next().unwrap_or(program).to_owned()
}

/// No output of a command has this in it by chance.
fn mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("kchaos-vm-{}-{}", process::id(), now.as_nanos())
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
