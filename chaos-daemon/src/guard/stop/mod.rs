//! Stop conditions while an experiment runs, and once before it starts.
//!
//! Every condition is looked at by a task of its own, so that a source that answers slowly holds up neither the others
//! nor the lease. [`judge`] says when it is time to stop. What must stay true: a condition that nobody watches any more
//! stops the experiment; and when [`Watch`] is dropped nothing goes on, a program that a condition runs included.

mod judge;

use std::{sync::Arc, time::Duration};

use chaos_common::counters::Counters;
use futures_util::future::join_all;
use thiserror::Error;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};

pub use self::judge::{Judge, Looked, Verdict};
use crate::{
    config::{Experiment, OnError, StopSpec},
    load::Statistics,
    measure::{Counts, Inside, MeasureError, Meter},
};

/// A condition that stops the experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tripped {
    /// Its name.
    pub name: String,
    /// Why, in words.
    pub why: String,
}

/// Why a condition keeps an experiment from starting.
#[derive(Debug, Error)]
pub enum Refused {
    /// It would stop at once.
    #[error("nothing was applied: the stop condition \"{}\" holds already: {}", .0.name, .0.why)]
    Holds(Tripped),
    /// Nobody can tell whether it holds.
    #[error(
        "nothing was applied: the stop condition \"{name}\" cannot be evaluated: {error}{}",
        advice(error)
    )]
    Unknown {
        /// Its position among the conditions of the file.
        index: usize,
        /// Its name.
        name: String,
        /// Why not.
        error: MeasureError,
    },
}

/// What to do about it, for those who meant something else.
fn advice(error: &MeasureError) -> &'static str {
    match error {
        MeasureError::NoData(_) => {
            "\nwithout `when` a query without an answer means that all is well (query = \"... > 0.02\"); with \
             on_error = \"ignore\" the experiment goes on while there is none"
        }
        MeasureError::Failed(_) | MeasureError::TimedOut(_) => {
            "\nwith on_error = \"ignore\" the experiment goes on while nobody can tell"
        }
        MeasureError::Mistake(_) | MeasureError::Unsupported(_) => "",
    }
}

/// Looks at every condition once, at all at the same time. No fault has done anything yet.
/// Conditions on the experiment's own load are not looked at where it is not being sent.
pub async fn look_once(experiment: &Experiment, load: Option<Arc<Statistics>>) -> Vec<Looked> {
    let none = vec![Counters::default(); experiment.faults.len()];
    let counts: Counts = Arc::new(move || {
        let none = none.clone();
        Box::pin(async move { Ok(none) })
    });
    let inside = Inside { counts, load };
    join_all(experiment.stops.iter().map(|spec| look(spec, &inside))).await
}

async fn look(spec: &StopSpec, inside: &Inside) -> Looked {
    if spec.source.is_load() && inside.load.is_none() {
        return Looked { value: None, verdict: Verdict::HoldsNot };
    }
    let measured = match spec.source.meter(inside.clone()) {
        Ok(meter) => meter.measure(spec.timeout).await,
        Err(error) => Err(error),
    };
    Looked::at(measured, spec.when.as_ref())
}

/// Refuses an experiment that would be stopped at once, or of which nobody could tell. `for` is not waited for: what
/// hurts before anything is broken is reason enough. What can never be evaluated is refused whatever `on_error` says.
pub async fn check_once(experiment: &Experiment, load: Option<Arc<Statistics>>) -> Result<(), Refused> {
    let looked = look_once(experiment, load).await;
    for (index, (spec, looked)) in experiment.stops.iter().zip(looked).enumerate() {
        let name = spec.name.clone();
        match looked.verdict {
            Verdict::Holds(why) => return Err(Refused::Holds(Tripped { name, why })),
            Verdict::Unknown(error) if error.is_lasting() || spec.on_error == OnError::Stop => {
                return Err(Refused::Unknown { index, name, error });
            }
            Verdict::Unknown(error) => {
                tracing::warn!(
                    "the stop condition \"{name}\" cannot be evaluated, and that is ignored: {error}"
                );
            }
            Verdict::HoldsNot => {}
        }
    }
    Ok(())
}

/// How a condition stands, for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// The number that decided at the last look that showed one.
    pub value: Option<f64>,
    /// Whether it held at the last look that could tell.
    pub holds: bool,
    /// How many looks could not tell.
    pub errors: u64,
}

/// All conditions of an experiment, for whoever wants to know how they stand.
#[derive(Clone, Debug, Default)]
pub struct Standings(Vec<watch::Receiver<Standing>>);

impl Standings {
    /// Now, in file order.
    pub fn now(&self) -> Vec<Standing> {
        self.0.iter().map(|standing| standing.borrow().clone()).collect()
    }
}

/// Watches the conditions of a running experiment.
#[derive(Default)]
pub struct Watch {
    tasks: JoinSet<Tripped>,
    standings: Standings,
}

impl Watch {
    /// Begins to look, from now on. Must be called where tokio runs; programs that conditions run end with the thread
    /// that runs them.
    pub fn start(specs: &[StopSpec], inside: &Inside) -> Self {
        let mut this = Self::default();
        for spec in specs {
            let (sender, receiver) =
                watch::channel(Standing { name: spec.name.clone(), ..Standing::default() });
            this.standings.0.push(receiver);
            let (spec, inside) = (spec.clone(), inside.clone());
            this.tasks.spawn(async move { follow(&spec, inside, &sender).await });
        }
        this
    }

    /// Waits until one of them stops the experiment; for ever, if there is none. May be given up and called again.
    pub async fn tripped(&mut self) -> Tripped {
        match self.tasks.join_next().await {
            Some(Ok(tripped)) => tripped,
            Some(Err(error)) => {
                Tripped { name: "?".to_owned(), why: format!("a condition is not watched any more: {error}") }
            }
            None => std::future::pending().await,
        }
    }

    /// How they stand.
    pub fn standings(&self) -> Standings {
        self.standings.clone()
    }
}

/// Looks at one condition again and again until it is time to stop.
async fn follow(spec: &StopSpec, inside: Inside, standing: &watch::Sender<Standing>) -> Tripped {
    let tripped = |why| Tripped { name: spec.name.clone(), why };
    let meter: Meter = match spec.source.meter(inside) {
        Ok(meter) => meter,
        Err(error) => return tripped(format!("cannot be evaluated: {error}")),
    };
    let begun = Instant::now();
    let clock = || -> Duration { begun.elapsed() };
    let mut judge = Judge::of(spec);
    let mut ticks = time::interval(spec.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let from = clock();
        let looked = Looked::at(meter.measure(spec.timeout).await, spec.when.as_ref());
        standing.send_modify(|standing| note(standing, &looked));
        if let Some(why) = judge.look(from, clock(), &looked.verdict) {
            return tripped(why);
        }
    }
}

fn note(standing: &mut Standing, looked: &Looked) {
    standing.value = looked.value.or(standing.value);
    match &looked.verdict {
        Verdict::Holds(_) => standing.holds = true,
        Verdict::HoldsNot => standing.holds = false,
        Verdict::Unknown(error) => {
            standing.errors += 1;
            tracing::info!("the stop condition \"{}\" cannot be evaluated: {error}", standing.name);
        }
    }
}

#[cfg(test)]
mod tests;
