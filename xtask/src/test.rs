//! `cargo xtask test`: everything that must hold before a change is merged, cheapest first.

mod checks;
mod results;

use std::{
    cell::{OnceCell, RefCell},
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use results::{Row, lines, print_kernels};

use crate::{
    bench, build, fuzz,
    matrix::{
        Column, Matrix, Place, Shared, harness,
        junit::{self, StageResult},
        kernels_doc, snapshot,
    },
    setup, sh,
};

/// For every test in one guest.
const WHOLE_LIMIT: Duration = Duration::from_hours(2);

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the dependency checks and the measurements, and all guests but one
    #[arg(long)]
    quick: bool,
    /// Where to run the tests: host (this machine), a line of Debian's kernels, the path of a vmlinuz
    #[arg(long, value_delimiter = ',', value_name = "PLACE,...")]
    kernels: Vec<Place>,
    /// The modules of the kernel whose path is given: the folder that holds modules.dep
    #[arg(long, value_name = "DIR", requires = "kernels")]
    modules: Option<PathBuf>,
    /// Run in one of the guests, too, what is alike on all kernels, also where guests are translated: ten minutes more
    #[arg(long, conflicts_with = "whole")]
    shared: bool,
    /// Run every test in every guest, also those for which one guest is enough: for hours
    #[arg(long, conflicts_with = "quick")]
    whole: bool,
    /// Run only the tests with this in their names, and nothing that is no test
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Handed on to the suite: a name, --exact, --nocapture, ...
    #[arg(last = true, value_name = "ARGS")]
    handed_on: Vec<String>,
}

impl Args {
    /// What the suite is told to run; nothing stands for everything.
    fn chosen(&self) -> Vec<String> {
        self.filter.iter().chain(&self.handed_on).cloned().collect()
    }

    fn places(&self) -> Vec<Place> {
        match (self.kernels.is_empty(), self.quick) {
            (false, _) => self.kernels.clone(),
            (true, false) => Place::all(),
            (true, true) => Place::few(),
        }
    }
}

/// What the stages share.
struct Gate<'a> {
    args: &'a Args,
    places: Vec<Place>,
    matrix: OnceCell<Matrix>,
    columns: RefCell<Vec<Column>>,
}

impl Gate<'_> {
    fn matrix(&self) -> Result<&Matrix> {
        self.matrix.get().context("the programs were not built")
    }
}

/// One step of the gate.
struct Stage {
    name: &'static str,
    kind: Kind,
    run: fn(&Gate) -> Result<Outcome>,
}

/// When a stage is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Never.
    Tests,
    /// When single tests are asked for.
    Check,
    /// Then, and by `--quick`.
    Slow,
}

/// How a stage that did not fail ended.
enum Outcome {
    Passed,
    /// It could not be done on this machine, or was not asked for, for the reason given.
    Skipped(String),
}

const STAGES: [Stage; 13] = [
    Stage { name: "formatting", kind: Kind::Check, run: |_| checks::formatting() },
    Stage { name: "lints", kind: Kind::Check, run: |_| checks::lints() },
    Stage { name: "lints of the eBPF programs", kind: Kind::Check, run: |_| checks::ebpf_lints() },
    Stage { name: "licences, bans, sources", kind: Kind::Slow, run: |_| checks::dependencies() },
    Stage { name: "security advisories", kind: Kind::Slow, run: |_| checks::advisories() },
    Stage { name: "unit and property tests", kind: Kind::Check, run: |_| unit_tests() },
    Stage { name: "static programs", kind: Kind::Tests, run: programs },
    Stage { name: "command line tests", kind: Kind::Check, run: |_| command_line_tests() },
    Stage { name: "requests at random", kind: Kind::Slow, run: |_| requests_at_random() },
    Stage { name: "host tests", kind: Kind::Tests, run: |gate| suite(gate, |place| *place == Place::Host) },
    Stage {
        name: "kernel matrix",
        kind: Kind::Tests,
        run: |gate| suite(gate, |place| *place != Place::Host),
    },
    Stage {
        name: "harness",
        kind: Kind::Check,
        run: |gate| harness::run(gate.matrix()?).map(|_| Outcome::Passed),
    },
    Stage {
        name: "measurements",
        kind: Kind::Slow,
        run: |gate| {
            bench::quick(&built()?, gate.places.iter().any(|place| *place != Place::Host))
                .map(|()| Outcome::Passed)
        },
    },
];

/// Runs the command.
pub fn main(args: &Args) -> Result<()> {
    let started = Instant::now();
    let gate = Gate { args, places: args.places(), matrix: OnceCell::new(), columns: RefCell::default() };
    let chosen = !args.chosen().is_empty();
    if chosen {
        println!("only the suite, with \"{}\": no lints, no other checks", args.chosen().join(" "));
    }
    let mut rows = Vec::new();
    let purpose = if args.quick || chosen { setup::Purpose::Test } else { setup::Purpose::Gate };
    let mut failure = stage("setup", &mut rows, || setup::ensure(purpose).map(|()| Outcome::Passed)).err();
    for Stage { name, kind, run } in STAGES {
        if let Some(reason) = left_out(kind, args.quick, chosen) {
            rows.push(Row::left_out(name, reason));
        } else if failure.is_some() {
            rows.push(Row::left_out(name, "not run"));
        } else {
            failure = stage(name, &mut rows, || run(&gate)).err();
        }
    }
    let columns = gate.columns.into_inner();
    if failure.is_none() && !chosen {
        failure = publish(&columns).err();
    }
    print_kernels(&columns);
    println!("\n{}", lines(&rows, started.elapsed()));
    let file = sh::target_dir()?.join("junit.xml");
    let stages: Vec<junit::Stage> = rows.into_iter().map(Row::into_junit).collect();
    junit::write(&file, &stages, &columns)?;
    failure.map_or(Ok(()), Err)
}

fn left_out(kind: Kind, quick: bool, chosen: bool) -> Option<&'static str> {
    match kind {
        Kind::Check | Kind::Slow if chosen => Some("left out (only some tests)"),
        Kind::Slow if quick => Some("left out (--quick)"),
        _ => None,
    }
}

/// Runs one stage under a heading and notes how it went.
fn stage(name: &'static str, rows: &mut Vec<Row>, run: impl FnOnce() -> Result<Outcome>) -> Result<()> {
    println!("\n== {name}");
    let started = Instant::now();
    let outcome = run();
    let seconds = started.elapsed();
    let result = match &outcome {
        Ok(Outcome::Passed) => StageResult::Passed,
        Ok(Outcome::Skipped(reason)) => StageResult::Skipped(format!("SKIPPED: {reason}")),
        Err(error) => StageResult::Failed(format!("{error:#}")),
    };
    let row = Row { name, seconds, result };
    println!("-- {name}: {} ({:.1} s)", row.said(), seconds.as_secs_f64());
    rows.push(row);
    outcome.map(drop).with_context(|| format!("the stage \"{name}\" failed"))
}

fn unit_tests() -> Result<Outcome> {
    cargo(&["test", "--package", "chaos-common", "--package", "chaos-daemon", "--package", "xtask"])
}

/// Builds what runs on this machine and in guests alike.
fn programs(gate: &Gate) -> Result<Outcome> {
    let mut places = gate.places.clone();
    if std::env::consts::ARCH != "x86_64" && gate.args.kernels.is_empty() {
        places.retain(|place| *place == Place::Host);
    }
    Place::check(&places, gate.args.modules.as_deref())?;
    let mut matrix = Matrix::new(&places, gate.args.modules.as_deref())?;
    if gate.args.whole {
        matrix = matrix.with_limit(WHOLE_LIMIT);
    } else if gate.args.chosen().is_empty() {
        let shared = if gate.args.shared { Shared::Always } else { Shared::UnlessTranslated };
        matrix = matrix.sharing(shared);
    }
    gate.matrix.get_or_init(|| matrix);
    Ok(Outcome::Passed)
}

/// The tests of the command line and of the tests' own parts, as root, against the binary that is shipped. Static and
/// optimized as the suite is, whose libraries are there by now: for their own unit tests another build would take minutes.
fn command_line_tests() -> Result<Outcome> {
    let mut command = build::statically(sh::cargo_as_root()?, "test", build::TESTS)?;
    command.args(["--lib", "--bins", "--test", "cli"]).env("KCHAOS_BIN", built()?);
    sh::run(&mut command)?;
    Ok(Outcome::Passed)
}

/// The suite, in some of the places.
fn suite(gate: &Gate, wanted: fn(&Place) -> bool) -> Result<Outcome> {
    let columns = gate.matrix()?.run_suite(wanted, &gate.args.chosen())?;
    if columns.is_empty() {
        return Ok(Outcome::Skipped("no such place in this run".into()));
    }
    let failed: Vec<_> = columns
        .iter()
        .filter(|column| !column.problems().is_empty())
        .map(|column| column.name.clone())
        .collect();
    gate.columns.borrow_mut().extend(columns);
    if failed.is_empty() { Ok(Outcome::Passed) } else { bail!("the suite failed on {}", failed.join(", ")) }
}

/// Writes what was found out about kernels to where it is kept: nothing, if it was known.
fn publish(columns: &[Column]) -> Result<()> {
    let sound = || columns.iter().filter(|column| column.problems().is_empty()).map(|column| &column.report);
    let root = sh::root()?;
    let expectations = root.join("tests/expectations.toml");
    let known = fs::read_to_string(&expectations)
        .with_context(|| format!("cannot read {}", expectations.display()))?;
    let doc = root.join("docs/KERNELS.md");
    if kernels_doc::update(&doc, &kernels_doc::known_lines(&known)?, sound())? {
        println!("{} is new: look at it and commit it", doc.display());
    }
    let file = root.join("tests/snapshots/verifier.json");
    if std::env::var_os("KCHAOS_RENEW").is_some() && snapshot::renew(&file, sound())? {
        println!("{} is new: look at it and commit it", file.display());
    }
    Ok(())
}

fn requests_at_random() -> Result<Outcome> {
    let reason = "Python's package index cannot be reached";
    Ok(if fuzz::short()? { Outcome::Passed } else { Outcome::Skipped(reason.to_owned()) })
}

/// The binary that an earlier stage has built.
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

#[cfg(test)]
mod tests;
