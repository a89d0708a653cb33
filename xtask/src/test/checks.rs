//! The stages that look at the source and not at what it does.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Outcome, cargo};
use crate::{sh, toolchain, toolchain::Toolchain};

pub fn formatting() -> Result<Outcome> {
    cargo(&["fmt", "--all", "--", "--check"])
}

/// With the feature `kernel-log`, too, which nothing else builds: both sides, as the build script passes it on. Of the
/// same packages, as others' dependencies would have other features, and all be looked at anew.
pub fn lints() -> Result<Outcome> {
    cargo(&["clippy", "--all-targets", "--", "-D", "warnings"])?;
    cargo(&["clippy", "--all-targets", "--features", "chaos-daemon/kernel-log", "--", "-D", "warnings"])
}

/// On the target they are written for, with the toolchain that builds them.
pub fn ebpf_lints() -> Result<Outcome> {
    let toolchain = Toolchain::find(&sh::cargo_path(), &sh::rustc_path())
        .context("no Rust toolchain has the standard library's source; run `cargo xtask setup`")?;
    let linker =
        toolchain::program("bpf-linker").context("there is no bpf-linker; run `cargo xtask setup`")?;
    // The one beside this cargo: clippy must be of the same version as the compiler.
    let clippy = toolchain.cargo.with_file_name("cargo-clippy");
    if !clippy.is_file() {
        return ebpf_lints_on_the_host();
    }
    let scratch = sh::target_dir()?.join("ebpf-lints");
    let mut command =
        toolchain.command(&clippy, &linker, std::env::consts::ARCH, &scratch).map_err(anyhow::Error::msg)?;
    command
        .current_dir(sh::root()?)
        .args(["clippy", "--release", "--package", "chaos-ebpf", "--bin", "chaos-ebpf"])
        .args(toolchain::BUILD_STD)
        .arg("--target-dir")
        .arg(&scratch)
        .args(["--", "-D", "warnings"]);
    sh::run(&mut command)?;
    Ok(Outcome::Passed)
}

/// The distribution packages clippy apart from its compiler; then ours reads the programs as if for this
/// machine.
fn ebpf_lints_on_the_host() -> Result<Outcome> {
    let mut command = sh::cargo()?;
    command
        // Without unwinding: the programs have a panic handler and nothing else of the standard library.
        .env("RUSTFLAGS", "-C panic=abort")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .args(["clippy", "--package", "chaos-ebpf", "--bin", "chaos-ebpf", "--target", &sh::host()?])
        .args(["--", "-D", "warnings"]);
    sh::run(&mut command)?;
    Ok(Outcome::Passed)
}

pub fn dependencies() -> Result<Outcome> {
    sh::run(deny()?.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Passed)
}

/// Only where the database of advisories can be reached: a machine without a network still has to test.
pub fn advisories() -> Result<Outcome> {
    let limit = Duration::from_mins(2);
    if let Err(error) = sh::run_within(deny()?.args(["fetch", "db"]), limit) {
        println!("{error:#}");
        return Ok(Outcome::Skipped("the advisory database cannot be reached".into()));
    }
    sh::run(deny()?.args(["check", "--disable-fetch", "advisories"]))?;
    Ok(Outcome::Passed)
}

fn deny() -> Result<std::process::Command> {
    let program =
        toolchain::program("cargo-deny").context("there is no cargo-deny; run `cargo xtask setup`")?;
    let mut command = std::process::Command::new(program);
    command.current_dir(sh::root()?);
    Ok(command)
}
