//! What calls cost while others' fail: counted in guests, and held against `tests/snapshots/calls.json`.
//!
//! A number of instructions is the same every time, so a rise of more than a tenth fails until the snapshot is renewed on
//! purpose (`KCHAOS_RENEW=1 cargo xtask bench call`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{
    build, sh,
    vm::{Choice, Job, Kernel, Lab, Shown},
};

/// Counting makes a guest slower still.
const LIMIT: Duration = Duration::from_mins(20);

/// Instructions by who makes the call.
type ByWho = BTreeMap<String, u64>;

/// Of a kernel by call.
type Costs = BTreeMap<String, ByWho>;

/// By "Linux 6.1".
type Snapshot = BTreeMap<String, Costs>;

/// A line of the guest's report.
#[derive(Deserialize)]
struct Row {
    call: String,
    who: String,
    instructions: u64,
}

/// Measures on every kernel, one after the other; in the short version with slack.
pub fn run(binary: &Path, kernels: &[Choice], quick: bool) -> Result<()> {
    let programs = [
        build::static_program("kchaos-tests", "kchaos-bench")?,
        build::static_program("kchaos-tests", "kct")?,
    ];
    let lab = Lab::new()?;
    let file = sh::root()?.join("tests/snapshots/calls.json");
    let mut missed = Vec::new();
    for choice in kernels {
        let kernel = lab.kernel(choice, None)?;
        eprintln!("bench    calls, in a guest that counts instructions: kernel {}", kernel.name);
        let (costs, met) = count(&lab, &kernel, binary, &programs, quick)?;
        if !met {
            missed.push(format!("{}: a bar was missed", kernel.name));
        }
        let Choice::Line(line) = choice else { continue };
        missed.extend(settle(&file, &format!("Linux {line}"), costs)?);
    }
    if missed.is_empty() { Ok(()) } else { bail!("what calls cost: {}", missed.join("; ")) }
}

/// Runs the benchmark in a guest; says what it counted, and whether all bars were met.
fn count(
    lab: &Lab,
    kernel: &Kernel,
    binary: &Path,
    programs: &[PathBuf],
    quick: bool,
) -> Result<(Costs, bool)> {
    let report = sh::target_dir()?.join("bench/calls.jsonl");
    if let Some(folder) = report.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut all = vec![binary.to_path_buf()];
    all.extend_from_slice(programs);
    for name in ["ip", "tc"] {
        all.push(sh::find_system(name).with_context(|| format!("there is no program {name} here"))?);
    }
    let mut command = vec!["kchaos-bench".to_owned(), "call".to_owned()];
    command.extend(quick.then(|| "--quick".to_owned()));
    let job = Job {
        command: &command,
        environment: &["KCHAOS_BIN=/bin/kchaos".to_owned(), "KCHAOS_KCT=/bin/kct".to_owned()],
        programs: &all,
        files: &[],
        limit: LIMIT,
        report: Some(&report),
        terminal: None,
        counted: true,
    };
    let run = lab.run(kernel, &job, &mut Shown)?;
    if run.code > 1 {
        bail!("counting on {} ended with code {}", kernel.name, run.code);
    }
    let text = fs::read_to_string(&report).with_context(|| format!("cannot read {}", report.display()))?;
    Ok((costs(&text)?, run.code == 0))
}

fn costs(report: &str) -> Result<Costs> {
    let mut costs = Costs::new();
    for line in report.lines().filter(|line| line.starts_with('{')) {
        let Row { call, who, instructions } =
            serde_json::from_str(line).with_context(|| format!("the guest's report: {line}"))?;
        costs.entry(call).or_default().insert(who, instructions);
    }
    Ok(costs)
}

/// Compares with what is known, or keeps it.
fn settle(file: &Path, kernel: &str, now: Costs) -> Result<Vec<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut snapshot: Snapshot =
        serde_json::from_str(&text).with_context(|| format!("{} cannot be read", file.display()))?;
    if std::env::var_os("KCHAOS_RENEW").is_none() {
        let known = snapshot.get(kernel).with_context(|| {
            format!("{} has no {kernel}: KCHAOS_RENEW=1 cargo xtask bench call adds it", file.display())
        })?;
        return Ok(dearer(kernel, known, &now));
    }
    snapshot.insert(kernel.to_owned(), now);
    let new = serde_json::to_string_pretty(&snapshot)? + "\n";
    if new != text {
        fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("bench    {} is new: look at it and commit it", file.display());
    }
    Ok(Vec::new())
}

/// What came, went, or rose by more than a tenth.
fn dearer(kernel: &str, known: &Costs, now: &Costs) -> Vec<String> {
    let flat = |costs: &Costs| -> BTreeMap<(String, String), u64> {
        let each = costs.iter().flat_map(|(call, by)| by.iter().map(move |(who, n)| (call, who, *n)));
        each.map(|(call, who, n)| ((call.clone(), who.clone()), n)).collect()
    };
    let (known, now) = (flat(known), flat(now));
    let mut said: Vec<String> = known
        .keys()
        .filter(|row| !now.contains_key(row))
        .map(|(call, who)| format!("{kernel}: {call}, {who}: not measured any more"))
        .collect();
    for ((call, who), new) in &now {
        match known.get(&(call.clone(), who.clone())) {
            None => said.push(format!("{kernel}: {call}, {who}: not in the snapshot")),
            Some(old) if *new > old + old / 10 => {
                said.push(format!("{kernel}: {call}, {who}: rose from {old} to {new}"));
            }
            Some(_) => {}
        }
    }
    if !said.is_empty() {
        said.push("KCHAOS_RENEW=1 accepts it".to_owned());
    }
    said
}

#[cfg(test)]
mod tests {
    use super::{costs, dearer};

    #[test]
    fn a_tenth_is_noise_and_more_is_said() {
        let row = |n: u64| format!("{{\"call\":\"read\",\"who\":\"outside\",\"instructions\":{n}}}\n");
        let known = costs(&row(100)).unwrap();
        assert!(dearer("k", &known, &costs(&row(110)).unwrap()).is_empty());
        let said = dearer("k", &known, &costs(&row(111)).unwrap());
        assert_eq!(said[0], "k: read, outside: rose from 100 to 111");
        assert_eq!(dearer("k", &known, &costs("").unwrap())[0], "k: read, outside: not measured any more");
        assert_eq!(dearer("k", &costs("").unwrap(), &known)[0], "k: read, outside: not in the snapshot");
    }

    #[test]
    fn what_the_kernel_says_in_between_is_no_row() {
        assert!(costs("\u{1e}boot\n").unwrap().is_empty());
        assert!(costs("{\"call\":1}\n").is_err());
    }
}
