//! A record of what was seen and done.

use std::time::SystemTime;

use super::{By, File, Record, Times, VERSION};
use crate::{
    config::Experiment,
    steady::{Done, Seen},
};

/// Of a run whose faults were on.
pub fn of(experiment: &Experiment, by: By, file: File, done: &Done) -> Record {
    let result = serde_json::to_value(&done.outcome).map_err(|error| {
        tracing::warn!("what was done cannot be written into the record: {error}");
    });
    Record { result: result.ok(), ..base(experiment, by, file, &done.seen, done.outcome.ran_seconds) }
}

/// Of one whose faults never went on.
pub fn of_nothing(experiment: &Experiment, by: By, file: File, seen: &Seen) -> Record {
    base(experiment, by, file, seen, 0.0)
}

fn base(experiment: &Experiment, by: By, file: File, seen: &Seen, on_seconds: f64) -> Record {
    let text = |time: SystemTime| humantime::format_rfc3339_millis(time).to_string();
    Record {
        version: VERSION,
        // The store gives it one.
        id: String::new(),
        experiment: experiment.name.clone(),
        hypothesis: experiment.hypothesis.clone(),
        tags: experiment.tags.clone(),
        verdict: seen.verdict.clone(),
        by,
        file,
        times: Times {
            baseline: seen.baseline.map(text),
            started: seen.started.map(text),
            ended: seen.ended.map(text),
            finished: text(SystemTime::now()),
            time_box_seconds: experiment.duration.as_secs_f64(),
            on_seconds,
            recovery_seconds: seen.recovery_seconds,
        },
        probes: seen.probes.clone(),
        injections: seen.injections.clone(),
        stops: seen.stops.clone(),
        result: None,
    }
}
