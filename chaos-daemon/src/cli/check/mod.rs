//! `kchaos check`: what this host can do, found out by doing it.

mod trial;
mod try_out;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Exit, Failure, Format, exit::short, output, sandbox};
use crate::{
    bpf::{BpfError, Feature, Level, map_bytes},
    engine::{Size, StartError},
    guard::capabilities,
    target::Hierarchy,
};
use trial::TrialError;
pub use try_out::{TryOutArgs, try_out};

/// Arguments of `kchaos check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// What `kchaos check --output json` prints.
#[derive(Serialize, JsonSchema)]
struct Report {
    /// The kernel's release, as `uname -r` prints it.
    kernel: String,
    /// Where the cgroup v2 hierarchy is mounted.
    cgroup2: String,
    /// Memory that one experiment at the limits takes in the kernel, in bytes. A small one takes a hundredth of it.
    map_bytes_at_most: usize,
    /// One answer for each feature, always all of them and in the same order.
    features: Vec<FeatureReport>,
}

/// Whether and how a feature works.
#[derive(Serialize, JsonSchema)]
struct FeatureReport {
    /// Its name: `tc_egress`, `cgroup_ingress`, `cgroup_connect`, ... More may be added.
    feature: &'static str,
    /// What experiments can do with it, for people.
    serves: &'static str,
    /// Whether it works.
    answer: Verdict,
    /// The way it is done: `tcx` or `clsact`, `any errno` or `EPERM only`, ... Absent where nothing works.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    /// How it was found out, for people.
    probed: &'static str,
    /// What is wrong, for people. Absent if the answer is "yes".
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What to do about it, for people. Absent if the answer is "yes", or if the reason says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// Whether a feature works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should.
    Yes,
    /// By a second-best way; the reason says what is lost.
    Degraded,
    /// Not at all: experiments that need it are refused.
    No,
}

/// Runs it: exit 0 if everything works, be it degraded, 4 if anything does not.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    capabilities::check()?;
    let hierarchy = Hierarchy::find()?;
    let runtime = sandbox::enter()?;
    let _guard = runtime.enter();
    let report = Report {
        kernel: nix::sys::utsname::uname()
            .map_or_else(|e| e.to_string(), |u| u.release().to_string_lossy().into_owned()),
        cgroup2: hierarchy.mount().display().to_string(),
        map_bytes_at_most: map_bytes(
            Size::LIMIT,
            std::thread::available_parallelism().map_or(1, usize::from),
        ),
        features: Feature::ALL
            .into_iter()
            .map(|feature| answer(feature, runtime.block_on(trial::of(feature, &hierarchy))))
            .collect(),
    };
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => output::text(&as_text(&report))?,
    }
    let works = report.features.iter().all(|f| f.answer != Verdict::No);
    Ok(if works { Exit::Done } else { Exit::CannotHere })
}

fn answer(feature: Feature, result: Result<Level, TrialError>) -> FeatureReport {
    let reduced = feature.reduced();
    let (answer, way, reason, remedy) = match result {
        Ok(Level::Full) => (Verdict::Yes, Some(feature.way()), None, None),
        Ok(Level::Reduced) => (
            Verdict::Degraded,
            reduced.map(|r| r.way),
            reduced.map(|r| r.loss.to_owned()),
            reduced.map(|r| r.remedy),
        ),
        // What a newer kernel would mend comes with a remedy; a missing right says itself what it takes.
        Err(TrialError::Start(StartError::Bpf(BpfError::Program { step, program, ref error, .. }))) => {
            (Verdict::No, None, Some(format!("{step} {program}: {}", short(error))), Some(feature.remedy()))
        }
        Err(TrialError::Start(StartError::Bpf(error @ BpfError::Clsact { .. }))) => {
            (Verdict::No, None, Some(error.to_string()), Some(feature.remedy()))
        }
        Err(error) => (Verdict::No, None, Some(error.to_string()), None),
    };
    FeatureReport {
        feature: feature.id(),
        serves: feature.serves(),
        answer,
        way,
        probed: "an experiment with it, on a process, in a cgroup and in a network namespace of its own, over the address \
                 families that the host has: the process must meet the fault, and the kernel must count it",
        reason,
        remedy,
    }
}

fn as_text(report: &Report) -> String {
    let mut text = format!("kernel {}, cgroup v2 at {}\n", report.kernel, report.cgroup2);
    text += &format!(
        "an experiment at its limits ({} faults) takes {:.1} MiB of kernel memory\n",
        chaos_common::MAX_RULES,
        report.map_bytes_at_most as f64 / f64::from(1 << 20)
    );
    for answer in &report.features {
        let mark = match answer.answer {
            Verdict::Yes => "yes",
            Verdict::Degraded => "degraded",
            Verdict::No => "no",
        };
        let way = answer.way.map_or_else(String::new, |way| format!("  ({way})"));
        text += &format!("  {mark:<9} {}{way}\n", answer.serves);
        for line in answer.reason.as_deref().into_iter().chain(answer.remedy) {
            text += &format!("            {line}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Report, Verdict, answer};
    use crate::bpf::{Feature, Level};

    /// What programs read is documented, and the document is true: `KCHAOS_RENEW=1 cargo test` writes it anew.
    #[test]
    fn the_schema_is_the_documented_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/check.schema.json");
        let now = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
        if std::env::var_os("KCHAOS_RENEW").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), now, "KCHAOS_RENEW=1 accepts the change");
    }

    #[test]
    fn a_degraded_feature_says_what_is_lost_and_what_helps() {
        for feature in Feature::ALL.into_iter().filter(|f| f.reduced().is_some()) {
            let answer = answer(feature, Ok(Level::Reduced));
            assert_eq!(answer.answer, Verdict::Degraded);
            assert!(answer.way.is_some() && answer.reason.is_some() && answer.remedy.is_some(), "{feature}");
        }
    }
}
