//! When a stop condition stops an experiment: what was measured, for how long it has been so, and what if nobody knows.
//! Nothing here waits or asks; the times are those that it is told.
//!
//! What must stay true: in doubt it stops. A condition that cannot be evaluated counts as one that holds, unless its
//! author has said to ignore that; and then it counts as if nobody had looked, so that what held before still does.

use std::time::Duration;

use crate::{
    config::{
        OnError, StopSpec,
        value::{Span, When},
    },
    measure::{MeasureError, Measured, Sample},
};

/// What a look at a condition has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The number that decided, if there was one.
    pub value: Option<f64>,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does, and why.
    Holds(String),
    /// It does not.
    HoldsNot,
    /// Nobody can tell.
    Unknown(MeasureError),
}

impl Looked {
    /// Holds what was measured against what is asked for.
    pub fn at(measured: Result<Measured, MeasureError>, when: Option<&When>) -> Self {
        match measured {
            Err(error) => Self { value: None, verdict: Verdict::Unknown(error) },
            Ok(Measured::Well) => Self { value: None, verdict: Verdict::HoldsNot },
            Ok(Measured::Unwell(why)) => Self { value: None, verdict: Verdict::Holds(why) },
            Ok(Measured::Numbers(samples)) => match when {
                None => found(&samples),
                Some(when) => compared(&samples, when),
            },
        }
    }
}

/// Without a comparison a number that is there is one too many, as with the rules of an alert.
fn found(samples: &[Sample]) -> Looked {
    let Some(first) = samples.first() else { return Looked { value: None, verdict: Verdict::HoldsNot } };
    let why = format!("{} is {}{}", first.of, first.value, more(samples.len()));
    Looked { value: Some(first.value), verdict: Verdict::Holds(why) }
}

/// It holds if any number compares so.
fn compared(samples: &[Sample], when: &When) -> Looked {
    let mut hits = samples.iter().filter(|sample| when.holds(sample.value));
    if let Some(first) = hits.next() {
        let why = format!("{} is {} ({when}){}", first.of, when.show(first.value), more(1 + hits.count()));
        return Looked { value: Some(first.value), verdict: Verdict::Holds(why) };
    }
    match samples.first() {
        Some(first) => Looked { value: Some(first.value), verdict: Verdict::HoldsNot },
        None => Looked {
            value: None,
            verdict: Verdict::Unknown(MeasureError::NoData(
                "there is no number to compare (no series, or NaN)".to_owned(),
            )),
        },
    }
}

fn more(count: usize) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

/// Follows one condition.
#[derive(Debug)]
pub struct Judge {
    held_for: Duration,
    on_error: OnError,
    /// Since when it holds without a break: the begin of the first look that showed it.
    since: Option<Duration>,
}

impl Judge {
    /// One that has seen nothing yet.
    pub fn of(spec: &StopSpec) -> Self {
        Self { held_for: spec.held_for, on_error: spec.on_error, since: None }
    }

    /// Takes in a look that lasted from `begun` to `ended`, on any clock that goes forward; looks are taken in their
    /// order. Answers why the experiment is to stop, if it is.
    pub fn look(&mut self, begun: Duration, ended: Duration, verdict: &Verdict) -> Option<String> {
        let why = match verdict {
            Verdict::HoldsNot => {
                self.since = None;
                return None;
            }
            Verdict::Unknown(_) if self.on_error == OnError::Ignore => return None,
            Verdict::Unknown(error) => format!("cannot be evaluated: {error}"),
            Verdict::Holds(why) => why.clone(),
        };
        let since = *self.since.get_or_insert(begun);
        if ended.saturating_sub(since) < self.held_for {
            return None;
        }
        Some(if self.held_for.is_zero() {
            why
        } else {
            format!("{why}, for {} and longer", Span(self.held_for))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judge(held_for: u64, on_error: OnError) -> Judge {
        Judge { held_for: Duration::from_secs(held_for), on_error, since: None }
    }

    fn holds() -> Verdict {
        Verdict::Holds("it is 3".to_owned())
    }

    fn unknown() -> Verdict {
        Verdict::Unknown(MeasureError::Failed("refused".to_owned()))
    }

    /// The second at which it stops, one look a second.
    fn stops_at(judge: &mut Judge, looks: &[Verdict]) -> Option<usize> {
        looks.iter().enumerate().position(|(second, verdict)| {
            let at = Duration::from_secs(second as u64);
            judge.look(at, at, verdict).is_some()
        })
    }

    #[test]
    fn without_for_the_first_look_decides() {
        assert_eq!(Some(0), stops_at(&mut judge(0, OnError::Stop), &[holds()]));
        assert_eq!(Some(1), stops_at(&mut judge(0, OnError::Stop), &[Verdict::HoldsNot, holds()]));
        assert_eq!(Some(0), stops_at(&mut judge(0, OnError::Stop), &[unknown()]));
        assert_eq!(None, stops_at(&mut judge(0, OnError::Ignore), &[unknown(), unknown()]));
    }

    #[test]
    fn with_for_it_must_hold_without_a_break() {
        let not = || Verdict::HoldsNot;
        assert_eq!(Some(2), stops_at(&mut judge(2, OnError::Stop), &[holds(), holds(), holds()]));
        let broken = [holds(), holds(), not(), holds(), holds(), holds()];
        assert_eq!(Some(5), stops_at(&mut judge(2, OnError::Stop), &broken));
        // What nobody knows is no break, and with "stop" it counts.
        assert_eq!(Some(2), stops_at(&mut judge(2, OnError::Stop), &[holds(), unknown(), unknown()]));
        assert_eq!(None, stops_at(&mut judge(2, OnError::Ignore), &[holds(), unknown(), unknown(), not()]));
        assert_eq!(
            Some(3),
            stops_at(&mut judge(2, OnError::Ignore), &[holds(), unknown(), unknown(), holds()])
        );
    }

    /// A look that takes long counts from its begin to its end.
    #[test]
    fn a_long_look_counts_as_long_as_it_took() {
        let mut judge = judge(2, OnError::Stop);
        let why = judge.look(Duration::ZERO, Duration::from_secs(2), &unknown());
        assert_eq!(Some("cannot be evaluated: refused, for 2s and longer"), why.as_deref());
    }

    fn numbers(values: &[f64]) -> Measured {
        let sample = |value: &f64| Sample { of: "up{}".to_owned(), value: *value };
        Measured::Numbers(values.iter().map(sample).collect())
    }

    #[test]
    fn numbers_are_compared_and_none_is_no_answer() {
        let when: When = "> 2%".parse().unwrap();
        let at = |values: &[f64]| Looked::at(Ok(numbers(values)), Some(&when));
        let hit =
            Looked { value: Some(0.5), verdict: Verdict::Holds("up{} is 50% (> 2%), and 1 more".into()) };
        assert_eq!(hit, at(&[0.01, 0.5, 0.03]));
        assert_eq!(Looked { value: Some(0.01), verdict: Verdict::HoldsNot }, at(&[0.01]));
        assert!(matches!(at(&[]).verdict, Verdict::Unknown(MeasureError::NoData(_))));
        // As the rules of an alert: what is found is what is wrong.
        assert_eq!(Verdict::HoldsNot, Looked::at(Ok(numbers(&[])), None).verdict);
        assert_eq!(Verdict::Holds("up{} is 0".into()), Looked::at(Ok(numbers(&[0.0])), None).verdict);
    }

    fn any_verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![Just(holds()), Just(Verdict::HoldsNot), Just(unknown())]
    }

    proptest! {
        /// Against the definition: it stops at the first look at which, going back without a look that showed the
        /// contrary, the first one that counted began long enough ago.
        #[test]
        fn stops_exactly_when_it_has_held_for_long_enough(
            looks in prop::collection::vec((0..3000u64, 0..2000u64, any_verdict()), 0..40),
            held_for in 0..8000u64,
            ignore: bool,
        ) {
            let on_error = if ignore { OnError::Ignore } else { OnError::Stop };
            let mut judge = Judge { held_for: Duration::from_millis(held_for), on_error, since: None };
            let mut clock = 0;
            let mut past: Vec<(u64, Verdict)> = Vec::new();
            for (pause, length, verdict) in looks {
                let (begun, ended) = (clock + pause, clock + pause + length);
                clock = ended;
                past.push((begun, verdict.clone()));
                let counts = |verdict: &Verdict| matches!(verdict, Verdict::Holds(_))
                    || !ignore && matches!(verdict, Verdict::Unknown(_));
                let first = past.iter().rev().take_while(|(_, v)| *v != Verdict::HoldsNot).filter(|(_, v)| counts(v)).last();
                let expected = counts(&verdict) && first.is_some_and(|(begun, _)| ended - begun >= held_for);
                let stopped = judge.look(Duration::from_millis(begun), Duration::from_millis(ended), &verdict);
                prop_assert_eq!(expected, stopped.is_some());
            }
        }
    }
}
