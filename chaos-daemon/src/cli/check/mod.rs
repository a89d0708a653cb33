//! `kchaos check`: what this host can do, found out by doing it.

mod trial;
mod try_out;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Exit, Failure, Format, output, sandbox};
use crate::{
    bpf::{
        BpfError, Feature, Level,
        call::{Call, Way},
        map_bytes,
    },
    engine::{Size, StartError},
    failure::short,
    fault::{KINDS, Kind},
    guard::capabilities,
    resource::check::{CONTROLLERS, absent},
    target::Hierarchy,
};
use trial::TrialError;
pub use try_out::{TryOutArgs, try_out};

/// How the names of features begin that are calls.
const CALL: &str = "call_";

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
    /// One answer for each kind of fault that acts from user space, always all of them and in the same order.
    resources: Vec<ResourceReport>,
}

/// Whether a kind of fault that acts from user space can be done to cgroups of this host.
#[derive(Serialize, JsonSchema)]
struct ResourceReport {
    /// The kind: `kill`, `pause`, `cpu`, `memory`, `io`.
    kind: &'static str,
    /// `yes` or `no`. A controller that is there may still not be switched on for the cgroup that an experiment names.
    answer: Verdict,
    /// What is wrong and what to do about it, for people. Absent if the answer is "yes".
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
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

/// Runs it: exit 0 if everything works but single calls, be it degraded, else 4.
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
            .chain(trial::of_calls().into_iter().map(|(call, way)| of_call(call, way)))
            .collect(),
        resources: resources(&hierarchy),
    };
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => output::text(&as_text(&report))?,
    }
    // A single call that cannot be caught is no reason to call the host unfit.
    let works = report.features.iter().all(|f| f.answer != Verdict::No || f.feature.starts_with(CALL));
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

fn resources(hierarchy: &Hierarchy) -> Vec<ResourceReport> {
    let of = |kind: &&dyn Kind| {
        let kind = kind.name();
        let controller = CONTROLLERS.into_iter().find(|controller| *controller == kind);
        let reason = controller.and_then(|controller| absent(controller, hierarchy.mount()));
        let answer = if reason.is_none() { Verdict::Yes } else { Verdict::No };
        ResourceReport { kind, answer, reason }
    };
    KINDS.iter().filter(|kind| kind.acts()).map(of).collect()
}

/// Those that work in one line, the others with their reasons.
fn resources_as_text(resources: &[ResourceReport]) -> String {
    let works = |report: &&ResourceReport| report.reason.is_none();
    let names: Vec<&str> = resources.iter().filter(works).map(|report| report.kind).collect();
    let mut text = format!("  yes       {}  (cgroup v2)\n", names.join(", "));
    for ResourceReport { kind, reason, .. } in resources {
        text += &reason
            .as_ref()
            .map_or_else(String::new, |why| format!("  no        {kind}\n            {why}\n"));
    }
    text
}

fn of_call(call: Call, way: Result<Way, TrialError>) -> FeatureReport {
    let feature = Feature::Call(call);
    let caught_by = way.as_ref().ok().map(|way| way.name());
    let answer = match way {
        Err(TrialError::Start(StartError::Bpf(BpfError::Call { why, .. }))) => FeatureReport {
            reason: Some(why),
            remedy: Some(feature.remedy()),
            ..answer(feature, Err(TrialError::NoEffect(String::new())))
        },
        other => answer(feature, other.map(|_| Level::Full)),
    };
    FeatureReport {
        way: caught_by,
        probed: "programs at their places, and two calls of our own: the one must fail as told, the other must not",
        ..answer
    }
}

fn as_text(report: &Report) -> String {
    let mut text = format!("kernel {}, cgroup v2 at {}\n", report.kernel, report.cgroup2);
    text += &format!(
        "an experiment at its limits ({} faults) takes {:.1} MiB of kernel memory\n",
        chaos_common::MAX_RULES,
        report.map_bytes_at_most as f64 / f64::from(1 << 20)
    );
    let (calls, others): (Vec<_>, Vec<_>) =
        report.features.iter().partition(|answer| answer.feature.starts_with(CALL));
    for answer in others {
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
    text + &calls_as_text(&calls) + &resources_as_text(&report.resources)
}

/// Those that work in one line for each way, the others with their reasons.
fn calls_as_text(calls: &[&FeatureReport]) -> String {
    let mut text = String::new();
    let name = |answer: &FeatureReport| answer.serves.trim_start_matches("call = ").replace('"', "");
    let mut by_way: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for answer in calls {
        if let Some(way) = answer.way {
            by_way.entry(way).or_default().push(name(answer));
        }
    }
    for (way, names) in by_way {
        text += &format!("  yes       call: {}  ({way})\n", names.join(", "));
    }
    let mut by_reason: BTreeMap<(Option<&str>, &str), Vec<String>> = BTreeMap::new();
    for answer in calls.iter().filter(|answer| answer.way.is_none()) {
        let reason = answer.reason.as_deref().unwrap_or_default();
        by_reason.entry((answer.remedy, reason)).or_default().push(name(answer));
    }
    let mut rest: &[_] = &by_reason.into_iter().collect::<Vec<_>>();
    while let Some((((remedy, _), _), _)) = rest.split_first() {
        // Those for which the same is to be done stand together, and that under them.
        let same = rest.iter().take_while(|((other, _), _)| other == remedy).count();
        let (group, others) = rest.split_at(same);
        for ((_, reason), names) in group {
            text += &format!("  no        call: {}\n            {reason}\n", names.join(", "));
        }
        text += &remedy.map_or_else(String::new, |remedy| format!("            {remedy}\n"));
        rest = others;
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
