//! What the looks at a probe come to: how it was before, how bad it became, when it broke, and when it was back. Nothing
//! here waits or asks.

use std::time::Duration;

use tokio::time::Instant;

use super::look::{Look, View};
use crate::{
    config::{
        During, ProbeSpec,
        value::{Comparison, When},
    },
    measure::Source,
    record::{Probe, Sample, State},
};

/// The times of a run.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// When the faults went on.
    pub on: Instant,
    /// How long they were on.
    pub length: Duration,
    /// Whether steady state was back at the end.
    pub has_come_back: bool,
}

impl Axis {
    /// Seconds since the faults went on; negative before.
    fn seconds(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.on) {
            Some(after) => after.as_secs_f64(),
            None => -self.on.duration_since(at).as_secs_f64(),
        }
    }
}

/// The finding on one probe.
pub fn judge(spec: &ProbeSpec, looks: &[Look], axis: &Axis) -> Probe {
    let length = axis.length.as_secs_f64();
    let is_during = |at: f64| (0.0..length).contains(&at);
    let samples: Vec<Sample> = looks
        .iter()
        .map(|look| {
            let at = axis.seconds(look.at);
            let View { state, value, note } = if is_during(at) { &look.during } else { &look.steady };
            Sample { at: (at * 1e3).round() / 1e3, value: *value, state: *state, note: note.clone() }
        })
        .collect();
    let during: Vec<&Sample> = samples.iter().filter(|sample| is_during(sample.at)).collect();
    let (broke_at, broken_seconds) = broken(&during, length);
    let expected = match &spec.during {
        Some(During::Expect(when)) => Some(when),
        _ => spec.expect.as_ref(),
    };
    Probe {
        name: spec.name.clone(),
        what: spec.source.describe(),
        expect: spec.expected(),
        during: spec.during.map(|during| during.to_string()),
        tolerate_seconds: spec.tolerate.as_secs_f64(),
        bound: expected.map(|when| when.bound),
        unit: unit(spec),
        baseline: mean(samples.iter().filter(|sample| sample.at < 0.0)),
        worst: expected.and_then(|when| worst(&during, when)),
        broke_at,
        broken_seconds,
        recovered_at: recovered(&samples, length, axis.has_come_back),
        held: held(spec, &during, broken_seconds),
        samples,
    }
}

fn unit(spec: &ProbeSpec) -> String {
    match (&spec.expect, &spec.source) {
        (Some(when), _) => when.unit.symbol().to_owned(),
        (None, Source::Pressure(_)) => "%".to_owned(),
        (None, _) => String::new(),
    }
}

fn mean<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<f64> {
    let values: Vec<f64> = samples.filter_map(|sample| sample.value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The value farthest on the wrong side of the bound, or nearest to it on the right one.
fn worst(samples: &[&Sample], when: &When) -> Option<f64> {
    let values = samples.iter().filter_map(|sample| sample.value);
    match when.comparison {
        Comparison::Below | Comparison::AtMost => values.max_by(f64::total_cmp),
        Comparison::Above | Comparison::AtLeast => values.min_by(f64::total_cmp),
        Comparison::Equal => values.max_by(|a, b| (a - when.bound).abs().total_cmp(&(b - when.bound).abs())),
        Comparison::Unequal => {
            values.min_by(|a, b| (a - when.bound).abs().total_cmp(&(b - when.bound).abs()))
        }
    }
}

/// When it first broke, and the longest time that it was so: from the first look that shows it to the first one that does
/// not, or to the end. What nobody could tell goes on as it was.
fn broken(samples: &[&Sample], length: f64) -> (Option<f64>, f64) {
    let (mut first, mut since, mut longest) = (None, None, 0.0_f64);
    for sample in samples {
        match sample.state {
            State::Broken => {
                first.get_or_insert(sample.at);
                since.get_or_insert(sample.at);
            }
            State::Well => {
                if let Some(begun) = since.take() {
                    longest = longest.max(sample.at - begun);
                }
            }
            State::Unknown => {}
        }
    }
    if let Some(begun) = since {
        longest = longest.max(length - begun);
    }
    (first, longest)
}

/// Whether its part of the hypothesis held while the faults were on. If it was never broken for too long, it must have
/// been seen in at least half of the looks.
fn held(spec: &ProbeSpec, during: &[&Sample], broken_seconds: f64) -> Option<bool> {
    let tolerated = spec.tolerate.as_secs_f64();
    let is_broken = during.iter().any(|sample| sample.state == State::Broken);
    if is_broken && (tolerated == 0.0 || broken_seconds > tolerated) {
        return Some(false);
    }
    let known = during.iter().filter(|sample| sample.state != State::Unknown).count();
    (known > 0 && known * 2 >= during.len()).then_some(true)
}

/// The first of the good looks that it ended with, if it was broken before and is back.
fn recovered(samples: &[Sample], length: f64, has_come_back: bool) -> Option<f64> {
    let was_broken = samples.iter().any(|sample| sample.at >= 0.0 && sample.state == State::Broken);
    if !was_broken || !has_come_back {
        return None;
    }
    let last = samples.iter().rposition(|sample| sample.state != State::Well);
    let back = samples.get(last.map_or(0, |last| last + 1))?;
    // One that is allowed to be bad while the faults are on has come back when they are off.
    Some(back.at.max(if last.is_some_and(|last| samples[last].at >= length) { length } else { 0.0 }))
}

/// How long after the faults went off all of them were back: zero if none was otherwise then.
pub fn recovery(probes: &[Probe], axis: &Axis) -> Option<Duration> {
    let length = axis.length.as_secs_f64();
    let last = probes.iter().filter_map(|probe| {
        let bad = probe.samples.iter().rposition(|s| s.at >= length && s.state != State::Well)?;
        probe.samples.get(bad + 1).map(|sample| sample.at - length)
    });
    Duration::try_from_secs_f64(last.fold(0.0, f64::max)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use State::{Broken, Unknown, Well};

    /// One look a second, from three seconds before the faults go on; they are on for ten.
    fn judged(fields: &str, states: &[State]) -> Probe {
        let text = format!(
            "duration = \"10s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\nprotocol = \"udp\"\n\
             [[probe]]\ntcp = {{ connect = \"127.0.0.1:1\" }}\n{fields}"
        );
        let spec = crate::config::parse("test", &text, "test").unwrap().probes.remove(0);
        let begin = Instant::now();
        let look = |(second, state): (usize, &State)| Look {
            at: begin + Duration::from_secs(second as u64),
            steady: View { state: *state, ..View::default() },
            during: View { state: *state, ..View::default() },
        };
        let looks: Vec<Look> = states.iter().enumerate().map(look).collect();
        let axis =
            Axis { on: begin + Duration::from_secs(3), length: Duration::from_secs(10), has_come_back: true };
        judge(&spec, &looks, &axis)
    }

    fn states(before: State, during: &[State], after: &[State]) -> Vec<State> {
        [vec![before; 3], during.to_vec(), after.to_vec()].concat()
    }

    #[test]
    fn what_breaks_and_comes_back() {
        let during = [Well, Well, Broken, Broken, Unknown, Broken, Well, Well, Broken, Well];
        let probe = judged("", &states(Well, &during, &[Broken, Broken, Well, Well]));
        assert_eq!((Some(2.0), 4.0, Some(12.0), Some(false)), found(&probe));
        assert_eq!(
            (Some(2.0), 4.0, Some(12.0), Some(true)),
            found(&judged("tolerate = \"4s\"", &states(Well, &during, &[Broken, Broken, Well, Well])))
        );
        assert_eq!(Some(false), judged("tolerate = \"3s\"", &states(Well, &during, &[])).held);
    }

    fn found(probe: &Probe) -> (Option<f64>, f64, Option<f64>, Option<bool>) {
        (probe.broke_at, probe.broken_seconds, probe.recovered_at, probe.held)
    }

    #[test]
    fn what_never_breaks_never_comes_back() {
        assert_eq!((None, 0.0, None, Some(true)), found(&judged("", &states(Well, &[Well; 10], &[Well; 3]))));
    }

    #[test]
    fn broken_to_the_end_counts_to_the_end() {
        let during = [vec![Well; 4], vec![Broken; 6]].concat();
        let probe = judged("tolerate = \"5s\"", &states(Well, &during, &[Well, Well]));
        assert_eq!((Some(4.0), 6.0, Some(10.0), Some(false)), found(&probe));
    }

    #[test]
    fn nobody_knows_what_was_not_seen() {
        assert_eq!(None, judged("", &states(Well, &[Unknown; 10], &[])).held);
        let rarely = [vec![Unknown; 6], vec![Well; 4]].concat();
        assert_eq!(None, judged("", &states(Well, &rarely, &[])).held);
        let mostly = [vec![Unknown; 5], vec![Well; 5]].concat();
        assert_eq!(Some(true), judged("", &states(Well, &mostly, &[])).held);
        // Broken once is broken, however rarely it was seen.
        let once = [vec![Unknown; 9], vec![Broken]].concat();
        assert_eq!(Some(false), judged("", &states(Well, &once, &[])).held);
        assert_eq!(None, judged("", &states(Well, &[], &[])).held);
    }

    #[test]
    fn what_is_before_and_after_is_not_judged_as_during() {
        let probe = judged("", &states(Broken, &[Well; 10], &[Broken, Well]));
        assert_eq!((None, 0.0, Some(11.0), Some(true)), found(&probe));
    }

    proptest! {
        #[test]
        fn a_break_is_never_longer_than_the_faults_were_on(
            during in proptest::collection::vec(0..3u8, 10),
            after in proptest::collection::vec(0..3u8, 0..5),
        ) {
            let state = |n: &u8| [Well, Broken, Unknown][usize::from(*n)];
            let during: Vec<State> = during.iter().map(state).collect();
            let after: Vec<State> = after.iter().map(state).collect();
            let probe = judged("", &states(Well, &during, &after));
            prop_assert!((0.0..=10.0).contains(&probe.broken_seconds));
            prop_assert_eq!(probe.broke_at.is_some(), during.contains(&Broken));
            prop_assert_eq!(probe.broke_at.is_some(), probe.broken_seconds > 0.0);
            prop_assert_eq!(during.contains(&Broken), probe.held == Some(false));
        }
    }
}
