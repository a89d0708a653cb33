//! Tests of the suite that are short there and as long as one likes here: containers that come and go (`cargo xtask
//! churn`), daemons that are killed at any moment (`kills`), halts of fifty experiments (`halts`), experiments that come
//! and go (`soak`).

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{
    matrix::{Matrix, Place, Suite},
    setup, sh,
};

/// In `tests/host/pods.rs`.
const CHURN: &str = "pods::neighbours_are_never_hit_while_containers_come_and_go";

/// In `tests/host/daemon_kills.rs`.
const KILLS: &str = "daemon_kills::killed_at_any_moment";

/// In `tests/host/daemon_halt.rs`.
const HALTS: &str = "daemon_halt::fifty_experiments_are_off_at_once";

/// In `tests/host/daemon_soak.rs`.
const SOAK: &str = "daemon_soak::nothing_grows";

/// How long a round of either may take in a guest that is translated.
const ROUND: Duration = Duration::from_mins(1);

/// Arguments of `cargo xtask churn`.
#[derive(clap::Args)]
pub struct Churn {
    /// For how long, in seconds
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// Arguments of `cargo xtask soak`.
#[derive(clap::Args)]
pub struct Soak {
    /// For how long, in seconds
    #[arg(long, default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// Arguments of `cargo xtask kills` and `halts`.
#[derive(clap::Args)]
pub struct Rounds {
    /// How often, on each kernel
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rounds: u64,
    /// Where: host (this machine), a line of Debian's kernels, the path of a vmlinuz
    #[arg(long, value_delimiter = ',', value_name = "PLACE,...", default_value = "host")]
    kernels: Vec<Place>,
}

/// Runs `cargo xtask churn`.
pub fn churn(args: &Churn) -> Result<()> {
    on_this_machine(CHURN, &format!("KCHAOS_CHURN={}", args.seconds))
}

/// Runs `cargo xtask soak`.
pub fn soak(args: &Soak) -> Result<()> {
    on_this_machine(SOAK, &format!("KCHAOS_SOAK={}", args.seconds))
}

fn on_this_machine(test: &str, variable: &str) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    let suite = Suite::build()?;
    let mut command = sh::as_root("env").context("this needs root, and there is no sudo: run it as root")?;
    command.args(suite.environment(None)).arg(variable).arg("KCHAOS_LIMIT=90000").arg(&suite.tests);
    command.args(["--nocapture", "--exact", test]);
    let status = command.status().context("cannot start the suite")?;
    if !status.success() {
        bail!("{test} failed");
    }
    Ok(())
}

/// Runs `cargo xtask kills`.
pub fn kills(args: &Rounds) -> Result<()> {
    in_rounds("kills", KILLS, args)
}

/// Runs `cargo xtask halts`.
pub fn halts(args: &Rounds) -> Result<()> {
    in_rounds("halts", HALTS, args)
}

fn in_rounds(name: &str, test: &str, args: &Rounds) -> Result<()> {
    setup::ensure(setup::Purpose::Test)?;
    let limit = ROUND * u32::try_from(args.rounds)?;
    let matrix = Matrix::new(&args.kernels, None)?.with_limit(limit + Duration::from_mins(5));
    let (rounds, limit) =
        (format!("KCHAOS_ROUNDS={}", args.rounds), format!("KCHAOS_LIMIT={}", limit.as_secs()));
    let columns = matrix.run(name, &|place: &Place| {
        let suite = match place {
            Place::Host => matrix.suite.tests.display().to_string(),
            Place::Guest(_) => "kchaos-suite".to_owned(),
        };
        let script = format!("{rounds} {limit} exec {suite} --nocapture --exact {test}");
        vec!["sh".to_owned(), "-c".to_owned(), script]
    })?;
    let failed: Vec<&str> = columns
        .iter()
        .filter(|column| {
            column.died.is_some() || !column.problems().is_empty() || column.report.counts().passed != 1
        })
        .map(|column| column.name.as_str())
        .collect();
    if !failed.is_empty() {
        bail!("not passed, or not run, on {}: target/vm/logs has what was said", failed.join(", "));
    }
    for column in &columns {
        println!("{name}  {}: passed; its figures are in {}", column.name, column.log.display());
    }
    Ok(())
}
