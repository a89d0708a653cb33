//! Steady state before, while and after the faults are on: what a hypothesis is held against.
//!
//! [`look`] asks the probes again and again, [`judge`] makes of what they have shown a finding for each, and [`verdict`]
//! one sentence of it all. [`Trial`] goes along with a run, whoever asked for it. What must stay true: nothing here holds
//! up the lease of an experiment, and what nobody could measure is never taken for good or bad.

mod judge;
mod look;
mod verdict;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use chaos_common::counters::Counters;
use serde::Serialize;
use thiserror::Error;
use tokio::time::{self, Instant};

pub use self::judge::Axis;
use self::{look::Watch, verdict::Back};
use crate::{
    config::{Experiment, StopSpec},
    engine::{Ended, Outcome, Session},
    load::{Load, Statistics},
    measure::{Counts, Inside, MeasureError},
    record::{Finding, Injections, Probe, Stop, Verdict},
};

/// How often it is looked whether all is as it should be.
const POLL: Duration = Duration::from_millis(50);

/// How long a source may take for its first answer, beyond the baseline.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often counts are noted.
const NOTED: Duration = Duration::from_secs(1);

/// Why an experiment with a hypothesis does not begin. Nothing was applied.
#[derive(Debug, Error)]
pub enum NotSteady {
    /// A probe is not as expected.
    #[error(
        "nothing was applied: there is no steady state to begin with: \"{probe}\" {note}\nsee what is wrong first, or \
         correct `expect`"
    )]
    Broken {
        /// Its name.
        probe: String,
        /// How it is.
        note: String,
    },
    /// Nobody can tell.
    #[error("nothing was applied: \"{probe}\" cannot be measured: {error}")]
    Unknown {
        /// Its name.
        probe: String,
        /// Why not.
        error: String,
    },
    /// The load cannot be sent.
    #[error("nothing was applied: the load cannot be sent: {0}")]
    Load(MeasureError),
}

/// What a run did, and what was seen of it: what `kchaos run --output json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// What it did.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was seen.
    #[serde(flatten)]
    pub seen: Seen,
}

impl Done {
    /// How it ended, and what came of its hypothesis.
    pub fn in_words(&self) -> String {
        let end = &self.outcome.ended;
        let Verdict { verdict, reason } = &self.seen.verdict;
        match verdict {
            Finding::Held => format!("{end}; the hypothesis held: {reason}"),
            Finding::Falsified => format!("{end}; falsified: {reason}"),
            Finding::Inconclusive => format!("{end}; inconclusive: {reason}"),
            Finding::Stopped | Finding::NotAsked => end.to_string(),
        }
    }
}

/// What a run has shown, for its record.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// What came of the hypothesis.
    #[serde(skip_serializing_if = "Verdict::was_not_asked_for")]
    pub verdict: Verdict,
    /// Each probe, in file order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<Probe>,
    /// What each fault has hit over time, in file order.
    #[serde(skip)]
    pub injections: Vec<Injections>,
    /// Each stop condition, in file order.
    #[serde(skip)]
    pub stops: Vec<Stop>,
    /// When steady state was first looked at.
    #[serde(skip)]
    pub baseline: Option<SystemTime>,
    /// When the faults went on.
    #[serde(skip)]
    pub started: Option<SystemTime>,
    /// When they went off.
    #[serde(skip)]
    pub ended: Option<SystemTime>,
    /// How long after the end steady state was back, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_seconds: Option<f64>,
}

/// Goes along with one run.
pub struct Trial {
    watch: Watch,
    load: Option<Load>,
    steady: crate::config::Steady,
    began: SystemTime,
    on: Option<(Instant, SystemTime)>,
    counts: Vec<(f64, Vec<u64>)>,
    back: Back,
}

impl Trial {
    /// Sends the load and begins to look. Must be called where tokio runs.
    pub fn begin(experiment: &Experiment) -> Result<Self, NotSteady> {
        let load = experiment.load.as_ref().map(Load::start).transpose().map_err(NotSteady::Load)?;
        let inside = Inside { counts: none(experiment), load: load.as_ref().map(Load::statistics) };
        let watch = Watch::start(&experiment.probes, &inside)?;
        Ok(Self {
            watch,
            load,
            steady: experiment.steady,
            began: SystemTime::now(),
            on: None,
            counts: Vec::new(),
            back: Back::NotInTime,
        })
    }

    /// Whether there is a hypothesis to hold against anything.
    pub fn asks_something(&self) -> bool {
        !self.watch.is_empty()
    }

    /// How the load fares, if there is one.
    pub fn load(&self) -> Option<Arc<Statistics>> {
        self.load.as_ref().map(Load::statistics)
    }

    /// Waits for as long as steady state must hold before the faults go on: all that is seen must be good, and something
    /// must be seen of each probe. May be given up.
    pub async fn baseline(&self) -> Result<(), NotSteady> {
        if self.load.is_some() {
            // What the conditions of a load are looked at for before the start must be there.
            time::sleep(crate::load::WARM_UP + Duration::from_millis(500)).await;
        }
        if self.watch.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            time::sleep(POLL).await;
            if let Some((probe, note)) = self.watch.broken() {
                return Err(NotSteady::Broken { probe, note });
            }
            let waited = begun.elapsed();
            match self.watch.unseen() {
                None if waited >= self.steady.baseline => return Ok(()),
                Some((probe, error)) if waited >= self.steady.baseline + PATIENCE => {
                    return Err(NotSteady::Unknown { probe, error });
                }
                _ => {}
            }
        }
    }

    /// The faults are on.
    pub fn faults_are_on(&mut self, session: &Session) {
        let since = session.elapsed();
        self.on = Instant::now().checked_sub(since).zip(SystemTime::now().checked_sub(since));
        self.note(session);
    }

    /// Notes what the faults have hit, if that was last done a while ago.
    pub fn note(&mut self, session: &Session) {
        let at = session.elapsed().as_secs_f64();
        if self.counts.last().is_some_and(|(last, _)| at - last < NOTED.as_secs_f64()) {
            return;
        }
        // Counts that cannot be read are a gap; the final ones come with the result.
        let Ok(counters) = session.counters() else { return };
        self.counts.push((at, counters.iter().map(|counters| counters.injected).collect()));
    }

    /// The faults are off. Waits until steady state is back, or as long as that may take; `asked` ends it before.
    pub async fn recover(&mut self, asked: impl Future) {
        let off = Instant::now();
        let back = async {
            while !self.watch.is_well_since(off) {
                time::sleep(POLL).await;
            }
        };
        tokio::select! {
            biased;
            () = back => self.back = Back::Seen,
            _ = asked => self.back = Back::NotWaitedFor,
            () = time::sleep(self.steady.recovery) => {}
        }
    }

    /// Ends the load and says what was seen of an experiment whose faults were on.
    pub fn end(mut self, experiment: &Experiment, outcome: Outcome) -> Done {
        drop(self.load.take());
        let (on, started) = self.on.unzip();
        let length = Duration::from_secs_f64(outcome.ran_seconds);
        let back = if self.watch.is_empty() { Back::Seen } else { self.back };
        let axis = Axis { on: on.unwrap_or_else(Instant::now), length, has_come_back: back == Back::Seen };
        let injections = self.injections(experiment, &outcome);
        let probes: Vec<Probe> =
            self.watch.seen().iter().map(|(spec, looks)| judge::judge(spec, looks, &axis)).collect();
        let recovery = axis.has_come_back.then(|| judge::recovery(&probes, &axis)).flatten();
        let seen = Seen {
            verdict: verdict::of(experiment, &outcome, &probes, back),
            injections,
            stops: stops(&experiment.stops, experiment, &outcome),
            baseline: (!probes.is_empty()).then_some(self.began),
            started,
            ended: started.map(|started| started + length),
            probes,
            recovery_seconds: recovery.map(|recovery| recovery.as_secs_f64()),
        };
        Done { outcome, seen }
    }

    /// The same of one whose faults never went on.
    pub fn never_began(&self, experiment: &Experiment, why: &NotSteady) -> Seen {
        let axis = Axis { on: Instant::now(), length: Duration::ZERO, has_come_back: false };
        Seen {
            verdict: verdict::not_begun(why),
            probes: self.watch.seen().iter().map(|(spec, looks)| judge::judge(spec, looks, &axis)).collect(),
            injections: Vec::new(),
            stops: experiment.stops.iter().map(|stop| shown(stop, experiment)).collect(),
            baseline: Some(self.began),
            started: None,
            ended: None,
            recovery_seconds: None,
        }
    }

    fn injections(&self, experiment: &Experiment, outcome: &Outcome) -> Vec<Injections> {
        let of_fault = |index: usize| {
            let noted = self.counts.iter().filter_map(|(at, counts)| Some((*at, *counts.get(index)?)));
            let last = outcome.faults.get(index).map(|fault| (outcome.ran_seconds, fault.injected));
            noted.filter(|(at, _)| *at < outcome.ran_seconds).chain(last).collect()
        };
        let faults = experiment.faults.iter().enumerate();
        faults
            .map(|(index, spec)| Injections {
                fault: spec.name.clone(),
                kind: spec.fault.kind().to_owned(),
                counts: of_fault(index),
            })
            .collect()
    }
}

/// Before the faults are on they have done nothing.
fn none(experiment: &Experiment) -> Counts {
    let none = vec![Counters::default(); experiment.faults.len()];
    Arc::new(move || {
        let none = none.clone();
        Box::pin(async move { Ok(none) })
    })
}

fn stops(specs: &[StopSpec], experiment: &Experiment, outcome: &Outcome) -> Vec<Stop> {
    let stopped =
        |name: &str| matches!(&outcome.ended, Ended::StopCondition { name: other, .. } if other == name);
    let of = |spec: &StopSpec| Stop {
        stopped_at: stopped(&spec.name).then_some(outcome.ran_seconds),
        ..shown(spec, experiment)
    };
    specs.iter().map(of).collect()
}

fn shown(spec: &StopSpec, experiment: &Experiment) -> Stop {
    let same = experiment.probes.iter().find(|probe| probe.source == spec.source);
    Stop {
        name: spec.name.clone(),
        what: spec.describe(),
        probe: same.map(|probe| probe.name.clone()),
        bound: spec.when.map(|when| when.bound),
        stopped_at: None,
    }
}
