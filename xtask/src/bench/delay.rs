//! What delays are compared with: netem on another kernel than this machine's, and noxious.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::Args;
use crate::{
    sh,
    vm::{Choice, Job, Lab, Shown},
};

/// What the benchmark on this machine is told.
pub struct Beside {
    /// `NAME=VALUE`.
    pub environment: Vec<String>,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// For the guest, which is slow.
const LIMIT: Duration = Duration::from_hours(2);

/// Where Debian keeps the tables of netem's distributions.
const TABLES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/tc", "/usr/lib/tc"];

/// Measures in the guest, and makes what is compared on this machine.
pub fn beside(bench: &Path, kchaos: &Path, args: &Args, kernel: Option<&Choice>) -> Result<Beside> {
    let folder = sh::target_dir()?.join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let stat = stat.lines().next().unwrap_or_default();
    let mut environment =
        vec![format!("KCHAOS_NOXIOUS={}", noxious()?.display()), format!("KCHAOS_STAT={stat}")];
    let mut arguments = Vec::new();
    if let Some(kernel) = kernel {
        let rows = folder.join("guest.jsonl");
        let machine = in_guest(bench, kchaos, kernel, args, &rows)?;
        environment.push(format!("KCHAOS_GUEST_MACHINE={machine}"));
        arguments.extend(["--guest-rows".to_owned(), rows.display().to_string()]);
    }
    // What is committed comes from a full run.
    let report = if args.quick || args.only.is_some() {
        folder.join("delay.md")
    } else {
        let documents = sh::root()?.join("docs/benchmarks");
        fs::create_dir_all(&documents).with_context(|| format!("cannot create {}", documents.display()))?;
        documents.join("delay.md")
    };
    arguments.extend(["--markdown".to_owned(), report.display().to_string()]);
    eprintln!("bench    the report of delays will be {}", report.display());
    Ok(Beside { environment, arguments })
}

/// Runs the benchmark in a guest; what it measured goes into a file. Says what the guest is.
fn in_guest(bench: &Path, kchaos: &Path, kernel: &Choice, args: &Args, rows: &Path) -> Result<String> {
    let lab = Lab::new()?;
    let kernel = lab.kernel(kernel, None)?;
    let machine = format!("{}, 1 CPU, 1 GiB, QEMU by {}", kernel.name, lab.accelerator(&kernel)?.name());
    let mut programs = vec![bench.to_path_buf(), kchaos.to_path_buf()];
    for name in ["ip", "tc", "cat"] {
        programs.push(sh::find_system(name).with_context(|| format!("there is no program {name} here"))?);
    }
    let table = TABLES.iter().map(|folder| Path::new(folder).join("normal.dist")).find(|file| file.is_file());
    programs.extend(table);
    let mut command = vec!["kchaos-bench".to_owned(), "delay".to_owned()];
    command.extend(args.quick.then(|| "--quick".to_owned()));
    command.extend(args.only.iter().flat_map(|only| ["--only".to_owned(), only.clone()]));
    // All that comes along is in one folder.
    let environment = ["KCHAOS_BIN=/bin/kchaos".to_owned(), "TC_LIB_DIR=/bin".to_owned()];
    let job = Job {
        command: &command,
        environment: &environment,
        programs: &programs,
        files: &[],
        limit: LIMIT,
        report: Some(rows),
        terminal: None,
        counted: false,
    };
    let run = lab.run(&kernel, &job, &mut Shown)?;
    // What misses a bar is judged with the rest.
    if run.code > 1 {
        bail!("measuring delays on {} ended with code {}", kernel.name, run.code);
    }
    Ok(machine)
}

/// Builds noxious below target/, once.
fn noxious() -> Result<PathBuf> {
    let manifest = sh::root()?.join("tests/bench/noxious/Cargo.toml");
    let target = sh::target_dir()?.join("noxious");
    let mut cargo = sh::cargo()?;
    // What the user sets for our own crates is not meant for this one.
    cargo.env_remove("RUSTFLAGS").args(["build", "--release", "--locked", "--manifest-path"]);
    cargo.arg(manifest).arg("--target-dir").arg(&target);
    sh::run(&mut cargo).context("noxious, which delays are compared with, cannot be built")?;
    Ok(target.join("release/kchaos-noxious"))
}
