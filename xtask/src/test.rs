//! `cargo xtask test`: everything that must hold before a change is merged, cheapest first.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{bench, build, setup, sh, toolchain, toolchain::Toolchain};

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the dependency checks and the measurements
    #[arg(long)]
    quick: bool,
}

/// One step of the gate.
struct Stage {
    name: &'static str,
    /// Left out by `--quick`.
    slow: bool,
    run: fn() -> Result<Outcome>,
}

/// How a stage that did not fail ended.
enum Outcome {
    Passed,
    /// It could not be done on this machine, for the reason given.
    Skipped(String),
}

const STAGES: [Stage; 9] = [
    Stage { name: "formatting", slow: false, run: formatting },
    Stage { name: "lints", slow: false, run: lints },
    Stage { name: "lints of the eBPF programs", slow: false, run: ebpf_lints },
    Stage { name: "licences, bans, sources", slow: true, run: dependencies },
    Stage { name: "security advisories", slow: true, run: advisories },
    Stage { name: "unit and property tests", slow: false, run: unit_tests },
    Stage { name: "static binary", slow: false, run: || build::binary().map(|_| Outcome::Passed) },
    Stage { name: "host tests", slow: false, run: host_tests },
    Stage { name: "measurements", slow: true, run: || bench::quick(&built()?).map(|()| Outcome::Passed) },
];

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    let started = Instant::now();
    let mut rows = Vec::new();
    let prepare = || setup::ensure(if args.quick { setup::Purpose::Test } else { setup::Purpose::Gate });
    let mut failure = stage("setup", &mut rows, || prepare().map(|()| Outcome::Passed)).err();
    for Stage { name, slow, run } in STAGES {
        if failure.is_some() {
            rows.push(Row { name, seconds: Duration::ZERO, result: "not run".into() });
        } else if slow && args.quick {
            rows.push(Row { name, seconds: Duration::ZERO, result: "left out (--quick)".into() });
        } else {
            failure = stage(name, &mut rows, run).err();
        }
    }
    println!("\n{}", table(&rows, started.elapsed()));
    failure.map_or(Ok(()), Err)
}

/// Runs one stage under a heading and notes how it went.
fn stage(name: &'static str, rows: &mut Vec<Row>, run: impl FnOnce() -> Result<Outcome>) -> Result<()> {
    println!("\n== {name}");
    let started = Instant::now();
    let outcome = run();
    let seconds = started.elapsed();
    let result = match &outcome {
        Ok(Outcome::Passed) => "passed".to_owned(),
        Ok(Outcome::Skipped(reason)) => format!("SKIPPED: {reason}"),
        Err(_) => "FAILED".to_owned(),
    };
    println!("-- {name}: {result} ({:.1} s)", seconds.as_secs_f64());
    rows.push(Row { name, seconds, result });
    outcome.map(drop).with_context(|| format!("the stage \"{name}\" failed"))
}

fn formatting() -> Result<Outcome> {
    cargo(&["fmt", "--all", "--", "--check"])
}

/// With the feature `kernel-log`, too, which nothing else builds: both sides, as the build script passes it on.
fn lints() -> Result<Outcome> {
    cargo(&["clippy", "--all-targets", "--", "-D", "warnings"])?;
    cargo(&["clippy", "--package", "chaos-daemon", "--features", "kernel-log", "--", "-D", "warnings"])
}

/// On the target they are written for, with the toolchain that builds them.
fn ebpf_lints() -> Result<Outcome> {
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

fn dependencies() -> Result<Outcome> {
    sh::run(deny()?.args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Passed)
}

/// Only where the database of advisories can be reached: a machine without a network still has to test.
fn advisories() -> Result<Outcome> {
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

fn unit_tests() -> Result<Outcome> {
    cargo(&["test", "--package", "chaos-common", "--package", "chaos-daemon", "--package", "xtask"])
}

/// The tests that need a kernel, as root, against the binary that is shipped.
fn host_tests() -> Result<Outcome> {
    let mut command = sh::cargo_as_root()?;
    sh::run(command.args(["test", "--package", "kchaos-tests"]).env("KCHAOS_BIN", built()?))?;
    Ok(Outcome::Passed)
}

/// The binary that the stage before has built.
fn built() -> Result<PathBuf> {
    let binary = sh::target_dir()?.join("kchaos");
    if !binary.is_file() {
        bail!("{} is not there; run `cargo xtask build`", binary.display());
    }
    Ok(binary)
}

fn cargo(args: &[&str]) -> Result<Outcome> {
    sh::run(sh::cargo()?.args(args))?;
    Ok(Outcome::Passed)
}

/// A line of the table at the end.
struct Row {
    name: &'static str,
    seconds: Duration,
    result: String,
}

fn table(rows: &[Row], total: Duration) -> String {
    let line = |name: &str, seconds: &str, result: &str| format!("{name:<28}{seconds:>8}  {result}");
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    let mut lines = vec![line("stage", "seconds", "result")];
    lines.extend(rows.iter().map(|row| line(row.name, &seconds(row.seconds), &row.result)));
    lines.push(line("total", &seconds(total), ""));
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Row, stage, table};

    #[test]
    fn a_failure_is_noted_and_handed_on() {
        let mut rows = Vec::new();
        stage("one", &mut rows, || Ok(Outcome::Passed)).unwrap();
        stage("two", &mut rows, || Ok(Outcome::Skipped("no network".into()))).unwrap();
        let error = stage("three", &mut rows, || anyhow::bail!("broken")).unwrap_err();
        assert_eq!(format!("{error:#}"), "the stage \"three\" failed: broken");
        let results: Vec<_> = rows.iter().map(|row| row.result.as_str()).collect();
        assert_eq!(results, ["passed", "SKIPPED: no network", "FAILED"]);
    }

    #[test]
    fn the_table_lines_up() {
        let row =
            |name, seconds| Row { name, seconds: Duration::from_secs(seconds), result: "passed".into() };
        let text = table(&[row("lints", 3), row("host tests", 120)], Duration::from_secs(123));
        assert_eq!(
            text,
            "stage                        seconds  result\n\
             lints                            3.0  passed\n\
             host tests                     120.0  passed\n\
             total                          123.0"
        );
    }
}
