//! Samples to lines: what of thousands of them can be seen at all.
//!
//! A page is a thousand dots wide. Of all samples that fall into the same column the first, the lowest, the highest
//! and the last are drawn: no peak is lost, however short it was, and the page stays small.

use std::fmt::Write;

use super::axis::{Scale, Time};
use crate::record::{Probe, Sample, State};

/// The width of a drawing, in units of its own: it is stretched to that of the page.
pub const WIDTH: f64 = 1000.0;

/// Columns that are told apart.
const COLUMNS: f64 = 360.0;

/// A point in a drawing.
type Point = (f64, f64);

/// The values of a probe as an SVG path: a line for each time in which it was known. `height` is that of the drawing.
pub fn line(probe: &Probe, time: &Time, scale: &Scale, height: f64) -> String {
    let mut path = String::new();
    for known in probe.samples.split(|sample| value(sample).is_none()) {
        let points = known.iter().filter_map(|sample| {
            Some((time.share(sample.at) * WIDTH, (1.0 - scale.share(value(sample)?)) * height))
        });
        let mut before = None;
        for (x, y) in thinned(points) {
            match before {
                None => write_to(&mut path, format_args!("M{x:.1} {y:.1}")),
                Some(()) => write_to(&mut path, format_args!("L{x:.1} {y:.1}")),
            }
            before = Some(());
        }
        if known.len() == 1 {
            // A line of one point: its round ends make a dot of it.
            path.push_str("h.1");
        }
    }
    path
}

/// The samples that were not as expected, as an SVG path of dots. Those without a number lie at the upper edge.
pub fn dots(probe: &Probe, time: &Time, scale: &Scale, height: f64) -> String {
    let broken = probe.samples.iter().filter(|sample| sample.state == State::Broken && sample.at.is_finite());
    let points = broken.map(|sample| {
        let y = value(sample).map_or(3.0, |value| (1.0 - scale.share(value)) * height);
        (time.share(sample.at) * WIDTH, y)
    });
    let mut path = String::new();
    for (x, y) in thinned(points) {
        write_to(&mut path, format_args!("M{x:.1} {y:.1}h.1"));
    }
    path
}

/// Of each column the first, the lowest, the highest and the last point, in their order.
fn thinned(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    let mut column: Vec<Point> = Vec::new();
    let number = |point: &Point| (point.0 / WIDTH * COLUMNS).floor();
    for point in points {
        if column.first().is_some_and(|first| number(first).total_cmp(&number(&point)).is_ne()) {
            keep(&mut column, &mut kept);
        }
        column.push(point);
    }
    keep(&mut column, &mut kept);
    kept
}

fn keep(column: &mut Vec<Point>, kept: &mut Vec<Point>) {
    let extremes = [
        Some(0),
        column.iter().enumerate().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(index, _)| index),
        column.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(index, _)| index),
        column.len().checked_sub(1),
    ];
    let mut chosen: Vec<usize> = extremes.into_iter().flatten().collect();
    chosen.sort_unstable();
    chosen.dedup();
    kept.extend(chosen.into_iter().filter_map(|index| column.get(index).copied()));
    column.clear();
}

/// The number of a sample that can be drawn.
pub fn value(sample: &Sample) -> Option<f64> {
    let known = sample.state != State::Unknown && sample.at.is_finite();
    sample.value.filter(|value| known && value.is_finite())
}

/// The times in which a probe was in a state, as an SVG path of boxes with this height: from each look to the next.
pub fn strip(probe: &Probe, time: &Time, wanted: State, height: f64) -> String {
    let longest = 2.5 * usual_step(probe);
    let mut path = String::new();
    let mut open: Option<(f64, f64)> = None;
    let column = WIDTH / COLUMNS;
    for (index, sample) in probe.samples.iter().enumerate() {
        if sample.state != wanted || !sample.at.is_finite() {
            continue;
        }
        let next = probe.samples.get(index + 1).map_or(f64::INFINITY, |next| next.at);
        let until = next.min(sample.at + longest).max(sample.at);
        let from = (time.share(sample.at) * WIDTH / column).floor() * column;
        // What was short is a column wide: it must be seen.
        let to = (time.share(until) * WIDTH).max(from + column);
        match &mut open {
            Some((_, end)) if from <= *end + 0.05 => *end = end.max(to),
            _ => close(&mut path, open.replace((from, to)), height),
        }
    }
    close(&mut path, open, height);
    path
}

fn close(path: &mut String, open: Option<(f64, f64)>, height: f64) {
    if let Some((from, to)) = open {
        write_to(path, format_args!("M{from:.1} 0h{:.1}v{height}H{from:.1}z", to - from));
    }
}

/// The usual time from one look to the next, in seconds: half of them take longer.
fn usual_step(probe: &Probe) -> f64 {
    let mut steps: Vec<f64> = probe.samples.windows(2).map(|two| two[1].at - two[0].at).collect();
    steps.retain(|step| step.is_finite() && *step > 0.0);
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(1.0)
}

/// How many bars a page has at most.
const BARS: f64 = 90.0;

/// Steps of time that a bar stands for, in seconds.
const STEPS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// How much a fault has hit in each step of time: its beginning, and hits per second.
#[derive(Debug)]
pub struct Rates {
    /// The length of a step, in seconds.
    pub step: f64,
    /// Beginnings of steps, and hits per second in them.
    pub bars: Vec<(f64, f64)>,
}

/// From counts that only grow. What was counted between two looks is spread over the time between them.
pub fn rates(counts: &[(f64, u64)], time: &Time) -> Rates {
    let step = STEPS.into_iter().find(|step| time.length() / step <= BARS).unwrap_or(time.length() / BARS);
    let mut known: Vec<(f64, u64)> = vec![(0.0, 0)];
    known.extend(counts.iter().filter(|(at, _)| at.is_finite() && *at > 0.0));
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    let end = known.last().map_or(0.0, |(at, _)| *at);
    let mut bars = Vec::new();
    let mut at = 0.0;
    while at < end && bars.len() < 200 {
        let hits = (by(&known, at + step) - by(&known, at)).max(0.0);
        bars.push((at, hits / step));
        at += step;
    }
    Rates { step, bars }
}

/// How many had been hit at a time.
fn by(known: &[(f64, u64)], at: f64) -> f64 {
    let next = known.partition_point(|(known, _)| *known <= at);
    let Some(before) = next.checked_sub(1).and_then(|index| known.get(index)) else { return 0.0 };
    match known.get(next) {
        None => before.1 as f64,
        Some(after) => {
            let part = (at - before.0) / (after.0 - before.0);
            before.1 as f64 + part * (after.1 as f64 - before.1 as f64)
        }
    }
}

/// The rates as an SVG path of boxes.
pub fn bars(rates: &Rates, time: &Time, scale: &Scale, height: f64) -> String {
    let mut path = String::new();
    for (at, rate) in rates.bars.iter().filter(|(_, rate)| *rate > 0.0) {
        let (from, to) = (time.share(*at) * WIDTH, time.share(at + rates.step) * WIDTH);
        let gap = ((to - from) * 0.12).min(1.5);
        // The smallest rate is still one.
        let tall = (scale.share(*rate) * height).max(1.0);
        write_to(
            &mut path,
            format_args!(
                "M{:.1} {height}v-{tall:.1}h{:.1}v{tall:.1}z",
                from + gap / 2.0,
                (to - from - gap).max(0.1)
            ),
        );
    }
    path
}

fn write_to(path: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _infallible = path.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, WIDTH, rates, strip, thinned};
    use crate::record::{Probe, Record, Sample, State, html::axis::Time};

    #[test]
    fn a_peak_of_one_sample_survives_in_thousands() {
        let points = (0..100_000_u32).map(|n| {
            let x = f64::from(n) / 100_000.0 * WIDTH;
            (x, if n == 54_321 { 99.0 } else { f64::from(n % 3) })
        });
        let kept = thinned(points);
        assert!(kept.iter().any(|point| point.1 > 98.0));
        assert!(kept.len() as f64 <= 4.0 * COLUMNS + 4.0, "{}", kept.len());
        assert!(kept.windows(2).all(|two| two[0].0 <= two[1].0), "their order stays");
        assert!(thinned(std::iter::empty()).is_empty());
    }

    fn probe(states: &[State]) -> Probe {
        let sample =
            |(index, state): (usize, &State)| Sample { at: index as f64, state: *state, ..Sample::default() };
        Probe { samples: states.iter().enumerate().map(sample).collect(), ..Probe::default() }
    }

    #[test]
    fn a_strip_has_a_box_for_each_time_in_a_state() {
        use State::{Broken, Unknown, Well};
        let probe = probe(&[Well, Well, Broken, Well, Unknown, Unknown, Broken, Broken]);
        let record = Record { probes: vec![probe.clone()], ..Record::default() };
        let time = Time::of(&record);
        let boxes = |state| strip(&probe, &time, state, 8.0).matches('M').count();
        assert_eq!([2, 2, 1], [boxes(Well), boxes(Broken), boxes(Unknown)]);
    }

    #[test]
    fn rates_add_up_to_what_was_counted() {
        let counts = [(0.5, 10), (2.0, 40), (7.3, 40), (9.9, 100)];
        let record = Record::default();
        let time = Time::of(&Record {
            times: crate::record::Times { on_seconds: 10.0, ..record.times.clone() },
            ..record
        });
        let found = rates(&counts, &time);
        let sum: f64 = found.bars.iter().map(|(_, rate)| rate * found.step).sum();
        assert!((sum - 100.0).abs() < 1e-6, "{sum}");
        assert!(found.bars.iter().all(|(_, rate)| *rate >= 0.0));
        assert!(rates(&[], &time).bars.is_empty());
    }
}
