//! Asks probes, each in a task of its own, and keeps what they answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};

use super::NotSteady;
use crate::{
    config::{During, ProbeSpec, value::When},
    measure::{Inside, MeasureError, Measured, Meter},
    record::State,
};

/// A look at a probe.
#[derive(Clone, Debug)]
pub struct Look {
    /// When it was asked.
    pub at: Instant,
    /// How it is by what is expected in steady state.
    pub steady: View,
    /// How it is by what is expected while the faults are on.
    pub during: View,
}

/// What one expectation makes of what was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// How it is.
    pub state: State,
    /// The number that decided, in the base unit of its source: a fraction, seconds.
    pub value: Option<f64>,
    /// What is wrong, or why nobody can tell.
    pub note: Option<String>,
}

type Looks = Arc<Mutex<Vec<Look>>>;

/// Looks at all probes of an experiment until it is dropped.
pub struct Watch {
    probes: Vec<(ProbeSpec, Looks)>,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Begins to look.
    pub fn start(specs: &[ProbeSpec], inside: &Inside) -> Result<Self, NotSteady> {
        let mut tasks = JoinSet::new();
        let mut probes = Vec::new();
        for spec in specs {
            let meter = spec.source.meter(inside.clone()).map_err(|error| unknown(spec, &error))?;
            let looks = Looks::default();
            let (task_spec, task_looks) = (spec.clone(), Arc::clone(&looks));
            tasks.spawn(async move { follow(&task_spec, &meter, &task_looks).await });
            probes.push((spec.clone(), looks));
        }
        Ok(Self { probes, _tasks: tasks })
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.probes.is_empty()
    }

    /// A probe that was seen not to be as expected in steady state, and how it was.
    pub fn broken(&self) -> Option<(String, String)> {
        self.probes.iter().find_map(|(spec, looks)| {
            let looks = lock(looks);
            let broken = looks.iter().find(|look| look.steady.state == State::Broken)?;
            Some((spec.name.clone(), broken.steady.note.clone().unwrap_or_default()))
        })
    }

    /// A probe of which nothing was seen yet, and why not.
    pub fn unseen(&self) -> Option<(String, String)> {
        self.probes.iter().find_map(|(spec, looks)| {
            let looks = lock(looks);
            if looks.iter().any(|look| look.steady.state == State::Well) {
                return None;
            }
            let why = looks.last().and_then(|look| look.steady.note.clone());
            Some((spec.name.clone(), why.unwrap_or_else(|| "it has not answered yet".to_owned())))
        })
    }

    /// Whether the last two looks at each, both since then, were good.
    pub fn is_well_since(&self, since: Instant) -> bool {
        self.probes.iter().all(|(_, looks)| {
            let looks = lock(looks);
            let mut last = looks.iter().rev().take(2);
            let mut is_well =
                || last.next().is_some_and(|look| look.at >= since && look.steady.state == State::Well);
            is_well() && is_well()
        })
    }

    /// What was seen.
    pub fn seen(&self) -> Vec<(&ProbeSpec, Vec<Look>)> {
        self.probes.iter().map(|(spec, looks)| (spec, lock(looks).clone())).collect()
    }
}

fn lock(looks: &Looks) -> MutexGuard<'_, Vec<Look>> {
    looks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(spec: &ProbeSpec, error: &MeasureError) -> NotSteady {
    NotSteady::Unknown { probe: spec.name.clone(), error: error.to_string() }
}

async fn follow(spec: &ProbeSpec, meter: &Meter, looks: &Looks) {
    let mut ticks = time::interval(spec.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let at = Instant::now();
        let measured = meter.measure(spec.timeout).await;
        lock(looks).push(judged(at, &measured, spec));
    }
}

/// Holds what was measured against both that is expected.
fn judged(at: Instant, measured: &Result<Measured, MeasureError>, spec: &ProbeSpec) -> Look {
    let steady = View::of(measured, spec.expect.as_ref());
    let during = match &spec.during {
        None => steady.clone(),
        Some(During::Any) => View::of_anything(&steady),
        Some(During::Expect(when)) => View::of(measured, Some(when)),
    };
    Look { at, steady, during }
}

impl View {
    /// By this comparison; without one, the source says what is right.
    fn of(measured: &Result<Measured, MeasureError>, expect: Option<&When>) -> Self {
        let of = |state, note| Self { state, value: None, note };
        match (measured, expect) {
            (Err(error), _) => of(State::Unknown, Some(error.to_string())),
            (Ok(Measured::Well), _) => of(State::Well, None),
            (Ok(Measured::Unwell(why)), _) => of(State::Broken, Some(why.clone())),
            (Ok(Measured::Numbers(_)), None) => Self::default(),
            (Ok(Measured::Numbers(samples)), Some(expect)) => {
                let Some(first) = samples.first() else {
                    return of(State::Unknown, Some("there is no number (no series, or NaN)".to_owned()));
                };
                match samples.iter().find(|sample| !expect.holds(sample.value)) {
                    None => Self { state: State::Well, value: Some(first.value), note: None },
                    Some(wrong) => Self {
                        state: State::Broken,
                        value: Some(wrong.value),
                        note: Some(format!(
                            "is {} (expected {expect}): {}",
                            expect.show(wrong.value),
                            wrong.of
                        )),
                    },
                }
            }
        }
    }

    /// Where nothing is expected: what was seen is good.
    fn of_anything(steady: &Self) -> Self {
        match steady.state {
            State::Unknown => steady.clone(),
            State::Well | State::Broken => Self { state: State::Well, value: steady.value, note: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, measure::Sample};

    fn probe(fields: &str) -> ProbeSpec {
        let text = format!(
            "duration = \"60s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\nprotocol = \"udp\"\n[[probe]]\n{fields}"
        );
        let experiment = config::parse("test", &text, "test").unwrap_or_else(|e| panic!("{e}\n{text}"));
        experiment.probes.into_iter().next().unwrap()
    }

    const NUMBERS: &str = "prometheus = { url = \"http://127.0.0.1:1\", query = \"x\" }\nexpect = \"< 1%\"\n";

    fn numbers(values: &[f64]) -> Measured {
        Measured::Numbers(values.iter().map(|v| Sample { of: "x".to_owned(), value: *v }).collect())
    }

    fn seen(fields: &str, measured: Measured) -> (State, State, Option<f64>) {
        states(fields, &Ok(measured))
    }

    /// Both states, and the number that decided while the faults are on.
    fn states(fields: &str, measured: &Result<Measured, MeasureError>) -> (State, State, Option<f64>) {
        let look = judged(Instant::now(), measured, &probe(fields));
        (look.steady.state, look.during.state, look.during.value)
    }

    #[test]
    fn every_number_must_be_as_expected() {
        use State::{Broken, Unknown, Well};
        assert_eq!((Well, Well, Some(0.001)), seen(NUMBERS, numbers(&[0.001, 0.002])));
        assert_eq!((Broken, Broken, Some(0.02)), seen(NUMBERS, numbers(&[0.001, 0.02])));
        assert_eq!((Unknown, Unknown, None), seen(NUMBERS, numbers(&[])));
        let during = format!("{NUMBERS}during = \"< 5%\"\n");
        assert_eq!((Broken, Well, Some(0.02)), seen(&during, numbers(&[0.02])));
        assert_eq!((Broken, Broken, Some(0.2)), seen(&during, numbers(&[0.2])));
        let any = format!("{NUMBERS}during = \"any\"\n");
        assert_eq!((Broken, Well, Some(1.0)), seen(&any, numbers(&[1.0])));
    }

    #[test]
    fn what_decides_is_what_is_expected_at_that_time() {
        let during = format!("{NUMBERS}during = \"< 5%\"\n");
        let look = judged(Instant::now(), &Ok(numbers(&[0.02, 0.2])), &probe(&during));
        let view = |value, note: &str| View {
            state: State::Broken,
            value: Some(value),
            note: Some(note.to_owned()),
        };
        assert_eq!(view(0.02, "is 2% (expected < 1%): x"), look.steady);
        assert_eq!(view(0.2, "is 20% (expected < 5%): x"), look.during);
        // One that is stricter while the faults are on.
        let strict = format!("{NUMBERS}during = \"< 0.1%\"\n");
        let look = judged(Instant::now(), &Ok(numbers(&[0.005])), &probe(&strict));
        assert_eq!(View { state: State::Well, value: Some(0.005), note: None }, look.steady);
        assert_eq!(view(0.005, "is 0.5% (expected < 0.1%): x"), look.during);
        let any = format!("{NUMBERS}during = \"any\"\n");
        let look = judged(Instant::now(), &Ok(numbers(&[0.001, 1.0])), &probe(&any));
        assert_eq!(View { state: State::Well, value: Some(1.0), note: None }, look.during);
    }

    #[test]
    fn what_cannot_be_measured_is_neither_good_nor_bad() {
        let failed = Err(MeasureError::Failed("refused".to_owned()));
        assert_eq!((State::Unknown, State::Unknown, None), states(NUMBERS, &failed));
        let tcp = "tcp = { connect = \"127.0.0.1:1\" }\n";
        let refused = || Measured::Unwell("refused".to_owned());
        assert_eq!((State::Broken, State::Broken, None), seen(tcp, refused()));
        assert_eq!((State::Broken, State::Well, None), seen(&format!("{tcp}during = \"any\"\n"), refused()));
    }
}
