//! `kchaos check`: what this host can do, found out by doing it.

use std::thread;

use serde::Serialize;

use super::{Exit, Failure, Format, exit::short, output};
use crate::{
    bpf::{BpfError, Feature, probe},
    guard::capabilities,
    target::Hierarchy,
};

/// Arguments of `kchaos check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Serialize)]
struct Report {
    kernel: String,
    cgroup2: String,
    features: Vec<Answer>,
}

#[derive(Serialize)]
struct Answer {
    feature: &'static str,
    serves: &'static str,
    works: bool,
    /// How it was found out.
    probed: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

/// Runs it: exit 0 if everything works, 4 if anything does not.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    capabilities::check()?;
    let hierarchy = Hierarchy::find()?;
    let report = Report {
        kernel: nix::sys::utsname::uname()
            .map_or_else(|e| e.to_string(), |u| u.release().to_string_lossy().into_owned()),
        cgroup2: hierarchy.mount().display().to_string(),
        features: Feature::ALL.into_iter().map(ask).collect(),
    };
    match args.output {
        Format::Json => output::json(&report)?,
        Format::Text => output::text(&as_text(&report))?,
    }
    Ok(if report.features.iter().all(|f| f.works) { Exit::Done } else { Exit::CannotHere })
}

fn ask(feature: Feature) -> Answer {
    // On a thread of its own, because a probe may leave its network namespace.
    let result = thread::spawn(move || probe(feature)).join();
    // What a newer kernel would mend comes with a remedy; a missing right says itself what it takes.
    let (reason, remedy) = match result {
        Ok(Ok(())) => (None, None),
        Ok(Err(BpfError::Program { step, program, ref error, .. })) => {
            (Some(format!("{step} {program}: {}", short(error))), Some(feature.remedy()))
        }
        Ok(Err(error)) => (Some(error.to_string()), None),
        Err(_panic) => (Some("the probe itself failed".to_owned()), None),
    };
    Answer {
        feature: feature.id(),
        serves: feature.serves(),
        works: reason.is_none(),
        probed: "loaded and attached its programs, and detached them",
        remedy,
        reason,
    }
}

fn as_text(report: &Report) -> String {
    let mut text = format!("kernel {}, cgroup v2 at {}\n", report.kernel, report.cgroup2);
    for answer in &report.features {
        let mark = if answer.works { "yes" } else { "no " };
        text += &format!("  {mark}  {:<24} {}\n", answer.serves, answer.reason.as_deref().unwrap_or(""));
        if let Some(remedy) = answer.remedy {
            text += &format!("       {:<24} {remedy}\n", "");
        }
    }
    text
}
