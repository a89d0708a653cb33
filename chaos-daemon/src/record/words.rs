//! What all forms of a record say in the same words: the verdict, the experiment, each probe.

use serde_json::Value;

use super::{
    Finding, Probe, Record, State, Stop,
    plain::{count, measured, moment, plain, seconds},
};

/// The verdict as a program knows it.
pub const fn word(finding: Finding) -> &'static str {
    match finding {
        Finding::Held => "held",
        Finding::Falsified => "falsified",
        Finding::Stopped => "stopped",
        Finding::Inconclusive => "inconclusive",
        Finding::NotAsked => "not_asked",
    }
}

/// The verdict as people write it into a record.
pub const fn result(finding: Finding) -> &'static str {
    match finding {
        Finding::Held => "HYPOTHESIS HELD",
        Finding::Falsified => "FAILED HYPOTHESIS",
        Finding::Stopped => "STOPPED BEFORE ITS TIME",
        Finding::Inconclusive => "INCONCLUSIVE",
        Finding::NotAsked => "NOTHING WAS ASKED",
    }
}

/// What one fault did, as far as the result says so.
#[derive(Debug, Default)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What it does.
    pub effect: String,
    /// How many fitted.
    pub matched: Option<u64>,
    /// How many of them were hit.
    pub injected: u64,
    /// How many would have been, in shadow mode.
    pub shadow: u64,
}

impl Fault {
    /// `1 234 of 5 000 matched were hit`.
    pub fn counts(&self) -> String {
        let done = if self.shadow > 0 && self.injected == 0 {
            format!("{} would have been hit (shadow mode)", count(self.shadow))
        } else {
            format!("{} hit", count(self.injected))
        };
        match self.matched {
            Some(matched) => format!("{done} of {} matched", count(matched)),
            None => done,
        }
    }
}

/// The faults in the order of the file.
pub fn faults(record: &Record) -> Vec<Fault> {
    let said = record.result.as_ref().and_then(|result| result["faults"].as_array());
    if let Some(faults) = said {
        return faults.iter().map(fault).collect();
    }
    let counted = record.injections.iter().map(|fault| Fault {
        name: fault.fault.clone(),
        kind: fault.kind.clone(),
        injected: fault.counts.last().map_or(0, |(_, count)| *count),
        ..Fault::default()
    });
    counted.collect()
}

fn fault(said: &Value) -> Fault {
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    Fault {
        name: text("fault"),
        kind: text("kind"),
        effect: text("effect"),
        matched: said["matched"].as_u64(),
        injected: said["injected"].as_u64().unwrap_or(0),
        shadow: said["skipped"]["shadow"].as_u64().unwrap_or(0),
    }
}

/// A text of the result.
pub fn said<'a>(record: &'a Record, key: &str) -> Option<&'a str> {
    record.result.as_ref()?[key].as_str()
}

/// What the draws started from.
pub fn seed(record: &Record) -> Option<u64> {
    record.result.as_ref()?["seed"].as_u64()
}

/// Whose processes were hit, for how long, and of what time box.
pub fn scope(record: &Record) -> String {
    let target = said(record, "target").map_or_else(|| "nothing was applied".to_owned(), plain);
    let times = &record.times;
    let box_ = seconds(times.time_box_seconds);
    let shadow =
        if said(record, "mode") == Some("shadow") { ", in shadow mode: nothing was hit" } else { "" };
    match &times.started {
        Some(_) => format!("{target}, for {} of a time box of {box_}{shadow}", seconds(times.on_seconds)),
        None => format!("{target}, in a time box of {box_}{shadow}"),
    }
}

/// How a probe was before the faults went on.
pub fn before(probe: &Probe) -> String {
    let samples = probe.samples.iter().filter(|sample| sample.at < 0.0);
    let (all, well) = samples
        .fold((0_u32, 0_u32), |(all, well), sample| (all + 1, well + u32::from(sample.state == State::Well)));
    match (probe.baseline, all) {
        (Some(value), _) => measured(value, &probe.unit),
        (None, 0) => "not measured".to_owned(),
        (None, all) => format!("{well} of {all} looks as expected"),
    }
}

/// How it was at worst while they were on.
pub fn worst(probe: &Probe) -> String {
    match (probe.worst, probe.broke_at) {
        (Some(value), _) => measured(value, &probe.unit),
        (None, Some(_)) => "not as expected".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// When it first broke and for how long, or that it did not.
pub fn broke(probe: &Probe) -> String {
    probe.broke_at.map_or_else(|| "never".to_owned(), moment)
}

/// When it was back.
pub fn recovered(probe: &Probe) -> String {
    match (probe.recovered_at, probe.broke_at) {
        (Some(at), _) => moment(at),
        (None, Some(_)) => "not seen".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// Whether its part of the hypothesis held.
pub const fn held(probe: &Probe) -> &'static str {
    match probe.held {
        Some(true) => "held",
        Some(false) => "broken",
        None => "unknown",
    }
}

/// What it was to be, before, during and for how long otherwise.
pub fn expected(probe: &Probe) -> String {
    let mut text = plain(&probe.expect);
    if let Some(during) = &probe.during {
        text += &format!("; while the faults were on: {}", plain(during));
    }
    if probe.tolerate_seconds > 0.0 {
        text += &format!("; otherwise for up to {}", seconds(probe.tolerate_seconds));
    }
    text
}

/// A probe in one sentence.
pub fn summary(probe: &Probe) -> String {
    let mut text = format!("{} before", before(probe));
    match probe.broke_at {
        None => text += ", as expected all the time",
        Some(at) => {
            text += &format!(
                ", at worst {}; first broke at {}, for {} at a time",
                worst(probe),
                moment(at),
                seconds(probe.broken_seconds)
            );
        }
    }
    match (probe.broke_at, probe.recovered_at) {
        (_, Some(at)) => text += &format!("; back at {}", moment(at)),
        (Some(_), None) => text += "; not seen to come back",
        (None, None) => {}
    }
    if probe.held.is_none() {
        text = if probe.samples.is_empty() {
            "never measured".to_owned()
        } else {
            text.replace(", as expected all the time", ", and nobody can tell for all of the time")
        };
    }
    text
}

/// The probe that broke first, if one did: of those that broke for longer than is tolerated, if there are any.
pub fn first_broken(record: &Record) -> Option<&Probe> {
    let harmed = record.probes.iter().any(|probe| probe.held == Some(false));
    let counts = |probe: &&Probe| probe.broke_at.is_some() && (!harmed || probe.held == Some(false));
    let broken = record.probes.iter().filter(counts);
    broken.min_by(|a, b| a.broke_at.unwrap_or_default().total_cmp(&b.broke_at.unwrap_or_default()))
}

/// Which probe broke first, if there was a choice.
pub fn order(record: &Record) -> Option<String> {
    let first = first_broken(record)?;
    let others = record.probes.iter().filter(|probe| probe.broke_at.is_some()).count() - 1;
    let at = first.broke_at.map(moment).unwrap_or_default();
    (record.probes.len() > 1).then(|| match others {
        0 => format!("{} broke at {at}, and no other probe did", plain(&first.name)),
        1 => format!("{} broke first, at {at}; one more probe followed", plain(&first.name)),
        n => format!("{} broke first, at {at}; {n} more probes followed", plain(&first.name)),
    })
}

/// How long steady state took to come back.
pub fn recovery(record: &Record) -> Option<String> {
    let after = record.times.recovery_seconds?;
    Some(format!("steady state was back {} after the faults went off", seconds(after)))
}

/// A stop condition in one sentence.
pub fn stop(stop: &Stop) -> String {
    let name = plain(&stop.name);
    let what = plain(&stop.what);
    match stop.stopped_at {
        Some(at) => format!("{name}: {what}; it stopped the experiment at {}", moment(at)),
        None => format!("{name}: {what}"),
    }
}

/// When it began, for a person.
pub fn began(record: &Record) -> &str {
    let times = &record.times;
    times.started.as_deref().or(times.baseline.as_deref()).unwrap_or(&times.finished)
}

/// The words of a shell that run the same file again, and whether the draws will be the same.
pub fn again(record: &Record) -> String {
    let file = format!("sudo kchaos record show {} --format file", record.id);
    match seed(record).filter(|_| !has_seed(&record.file.text)) {
        Some(seed) => format!("{{ echo 'seed = {seed}'; {file}; }} | sudo kchaos run -"),
        None => format!("{file} | sudo kchaos run -"),
    }
}

fn has_seed(text: &str) -> bool {
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("seed"))
}
