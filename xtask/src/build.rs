//! `cargo xtask build`: one static binary with the eBPF programs inside.
//!
//! Static, so that the same file runs on a developer's machine, in a container without a shell and on a
//! cluster node, whatever C library is there.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{elf, setup, sh};

/// Past this size something was linked in that does not belong there.
const LIMIT: u64 = 20 << 20;

/// The package that uses all others.
pub const TESTS: &str = "kchaos-tests";

/// Runs the command.
pub fn main() -> Result<()> {
    setup::ensure(setup::Purpose::Build)?;
    binary().map(drop)
}

/// Builds the binary, checks it and returns where it is.
pub fn binary() -> Result<PathBuf> {
    let built = static_program("chaos-daemon", "kchaos")?;
    let target = sh::target_dir()?;
    let binary = target.join("kchaos");
    // A new file under the old name: a kchaos that is running cannot be written to.
    let new = target.join("kchaos.new");
    fs::copy(&built, &new)
        .and_then(|_| fs::rename(&new, &binary))
        .with_context(|| format!("cannot write {}", binary.display()))?;
    let size = fs::metadata(&binary)?.len();
    eprintln!("{} is static, {}", binary.display(), mebibytes(size));
    if size > LIMIT {
        bail!("the binary may be {} at most: look at what the last change linked in", mebibytes(LIMIT));
    }
    Ok(binary)
}

/// Builds a program that needs no shared library, and returns where cargo has put it.
pub fn static_program(package: &str, program: &str) -> Result<PathBuf> {
    let mut cargo = statically(sh::cargo()?, "build", package)?;
    if package != TESTS {
        // Their dependencies have more features. Of those of everything together there is one build and not two.
        cargo.args(["--package", TESTS]);
    }
    sh::run(cargo.args(["--bin", program]))?;
    let built = sh::target_dir()?.join(sh::host()?).join("release").join(program);
    checked(built)
}

/// The same for a test, whose file has a number in its name that only cargo knows.
pub fn static_test(package: &str, test: &str) -> Result<PathBuf> {
    let mut cargo = statically(sh::cargo()?, "test", package)?;
    cargo.args(["--no-run", "--test", test, "--message-format=json-render-diagnostics"]);
    // What it has to say to people it says on standard error.
    let said = cargo.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !said.status.success() {
        bail!("`{}` failed ({})", sh::shown(&cargo), said.status);
    }
    let built = executable(&String::from_utf8_lossy(&said.stdout), test);
    checked(built.with_context(|| format!("cargo does not say where it has put the test {test}"))?)
}

/// A cargo that links the C library in.
pub fn statically(mut cargo: Command, subcommand: &str, package: &str) -> Result<Command> {
    // Naming the target keeps these flags away from build scripts and macros, which must stay dynamic.
    let flags = format!("{} -C target-feature=+crt-static", env::var("RUSTFLAGS").unwrap_or_default());
    cargo
        .args([subcommand, "--release", "--package", package, "--target", &sh::host()?])
        .arg("--target-dir")
        .arg(sh::target_dir()?)
        .env("RUSTFLAGS", flags.trim())
        // It would win over the line above.
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(cargo)
}

fn checked(built: PathBuf) -> Result<PathBuf> {
    let content = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    elf::require_static(&content).with_context(|| format!("{} is not a static binary", built.display()))?;
    Ok(built)
}

/// Looks for a test's program in cargo's messages, one JSON object in each line.
fn executable(messages: &str, test: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let target = message.get("target")?;
        let is_test = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
        let wanted = is_test && target.get("name")? == test;
        let file = message.get("executable")?.as_str()?;
        wanted.then(|| PathBuf::from(file))
    })
}

/// A size with one decimal, rounded down.
fn mebibytes(bytes: u64) -> String {
    let tenths = (bytes * 10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, executable, mebibytes};

    #[test]
    fn a_tests_program_is_found_by_its_name() {
        let messages = "\
{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"bin\"],\"name\":\"host\"},\"executable\":\"/t/bin\"}
{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"test\"],\"name\":\"cli\"},\"executable\":\"/t/cli-1\"}
{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"test\"],\"name\":\"host\"},\"executable\":\"/t/host-2\"}
{\"reason\":\"build-finished\",\"success\":true}";
        assert_eq!(executable(messages, "host"), Some("/t/host-2".into()));
        assert_eq!(executable(messages, "other"), None);
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(mebibytes(LIMIT), "20.0 MiB");
        assert_eq!(mebibytes(1_600_000), "1.5 MiB");
        assert_eq!(mebibytes(0), "0.0 MiB");
    }
}
