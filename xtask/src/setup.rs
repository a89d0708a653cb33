//! `cargo xtask setup`: brings a Debian or Ubuntu machine to where kchaos can be built and tested.
//!
//! Every need is checked by using the real thing, only what is missing is installed, and each installation is
//! checked again. When nothing is missing no network is touched, because every other command does this first.

mod apt;
mod needs;
mod servers;
mod source;
pub mod unpacked;

use anyhow::{Context as _, Result, bail};

use crate::sh;
use apt::Apt;
use needs::{Fix, Need};

/// What the machine is prepared for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The binary.
    Build,
    /// The lints and the tests on this machine.
    Test,
    /// Also what checks the dependencies.
    Gate,
    /// Other kernels, in virtual machines.
    Vm,
    /// Everything but what checks the dependencies.
    All,
}

impl Purpose {
    /// Whether what another purpose needs is needed for this one too.
    fn includes(self, other: Self) -> bool {
        match self {
            Self::Build => other == Self::Build,
            Self::Test => matches!(other, Self::Build | Self::Test),
            Self::Gate => matches!(other, Self::Build | Self::Test | Self::Gate),
            Self::Vm => matches!(other, Self::Build | Self::Vm),
            Self::All => matches!(other, Self::Build | Self::Test | Self::Vm),
        }
    }
}

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Say what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// A need that is not met, and what is wrong.
struct Missing {
    need: &'static Need,
    problem: String,
}

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    let missing = check(Purpose::All, true);
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    if args.dry_run {
        return preview(&missing);
    }
    install(&missing)
}

/// Installs what is missing for a purpose; says nothing if nothing is.
pub fn ensure(purpose: Purpose) -> Result<()> {
    let missing = check(purpose, false);
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Runs every check of a purpose and reports the needs that are not met.
fn check(purpose: Purpose, verbose: bool) -> Vec<Missing> {
    let mut missing = Vec::new();
    for need in needs::all().filter(|need| purpose.includes(need.purpose)) {
        match (need.check)() {
            Ok(found) if verbose => println!("ok       {}: {found}", need.name),
            Ok(_) => {}
            Err(problem) => {
                // A compiler or linker complains at length; where it was started by hand the rest can be
                // read.
                let gist = problem.lines().next().unwrap_or_default();
                println!("missing  {} ({}): {gist}", need.name, need.why);
                missing.push(Missing { need, problem });
            }
        }
    }
    missing
}

/// Prints the commands that would be run.
fn preview(missing: &[Missing]) -> Result<()> {
    let packages = packages(missing);
    if !packages.is_empty() {
        println!("would run: {}", apt::by_hand(&packages));
    }
    for missing in missing {
        match &missing.need.fix {
            Fix::Packages(_) => {}
            Fix::Server { service, .. } => println!("would run: {}", apt::disable_by_hand(service)),
            Fix::Tool(tool) => {
                println!("would run: {}", apt::by_hand(&[tool.package]));
                println!("       or: nothing on this machine, but unpack it below target/vm");
            }
            Fix::StandardSource => source::preview()?,
            Fix::Component { name, .. } => println!("would run: rustup component add {name}"),
            Fix::Crate(krate) => println!("would run: {}", sh::shown(&krate.install()?)),
        }
    }
    Ok(())
}

/// Installs what is missing, in an order in which one thing may need another: packages, toolchain, tools.
fn install(missing: &[Missing]) -> Result<()> {
    let mut apt = Apt::default();
    let packages = packages(missing);
    if !packages.is_empty() {
        apt.install(&packages)?;
    }
    for Missing { need, problem } in missing {
        let said = || format!("{} ({}) could not be installed", need.name, need.why);
        match &need.fix {
            Fix::Packages(_) => {}
            Fix::Server { service, .. } => apt::disable(service).with_context(said)?,
            Fix::Tool(tool) => {
                if let Err(error) = apt.install_harmlessly(tool.package) {
                    println!("setup    only unpacking {}: {error:#}", tool.package);
                    tool.unpack().with_context(said)?;
                }
            }
            Fix::StandardSource => source::install(&mut apt).with_context(said)?,
            Fix::Component { name, debian } => source::add_component(name).with_context(|| {
                format!("{}; with Debian's own rustc, install the package {debian}", said())
            })?,
            Fix::Crate(krate) => {
                println!("setup    compiling {} {}: {problem}", krate.name, krate.version);
                sh::run(&mut krate.install()?).with_context(said)?;
            }
        }
    }
    for Missing { need, .. } in missing {
        if let Err(problem) = (need.check)() {
            let hint = match &need.fix {
                Fix::Crate(_) => {
                    "; if that is another one, remove it or put cargo's bin folder first in PATH"
                }
                _ => "",
            };
            bail!("{} is still missing after it was installed: {problem}{hint}", need.name);
        }
    }
    println!("setup    done");
    Ok(())
}

/// The system packages that together meet the needs; one installation is faster than several.
fn packages(missing: &[Missing]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for missing in missing {
        if let Fix::Packages(packages) | Fix::Server { packages, .. } = missing.need.fix {
            names.extend_from_slice(packages);
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}
