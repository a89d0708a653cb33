//! Where a time or a value is drawn: the axes of the plots.
//!
//! What must stay true: all plots of a page have one time axis, so that what stands above each other happened at the
//! same time.

use crate::record::{Probe, Record, Stop, plain};

/// Steps that people can count in, in seconds.
const TIME_STEPS: [f64; 22] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    10_800.0, 21_600.0, 43_200.0, 86_400.0, 604_800.0,
];

/// The time axis of a page.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    from: f64,
    to: f64,
}

/// A mark on an axis.
#[derive(Debug, PartialEq)]
pub struct Tick {
    /// Where: 0 is the beginning of the axis, 1 its end.
    pub share: f64,
    /// What is written there.
    pub label: String,
    /// Whether it is one of the few for which there is room on a narrow page.
    pub major: bool,
}

impl Time {
    /// From the first look at a probe to the last.
    pub fn of(record: &Record) -> Self {
        let samples = record.probes.iter().flat_map(|probe| &probe.samples).map(|sample| sample.at);
        let counts = record.injections.iter().flat_map(|fault| &fault.counts).map(|(at, _)| *at);
        let times = &record.times;
        let back = times.recovery_seconds.map(|after| times.on_seconds + after);
        let known = [0.0, times.on_seconds].into_iter().chain(back).chain(samples).chain(counts);
        let (mut from, mut to) = (0.0_f64, 0.0_f64);
        for at in known.filter(|at| at.is_finite()) {
            (from, to) = (from.min(at), to.max(at));
        }
        if to - from < 1.0 {
            to = from + 1.0;
        }
        // What happens at the very edges must be seen as well.
        let room = (to - from) / 100.0;
        Self { from: if from < 0.0 { from - room } else { from }, to: to + room }
    }

    /// Where a moment is: 0 to 1, if it is on the axis.
    pub fn share(&self, at: f64) -> f64 {
        ((at - self.from) / (self.to - self.from)).clamp(0.0, 1.0)
    }

    /// From its beginning to its end, in seconds.
    pub fn length(&self) -> f64 {
        self.to - self.from
    }

    /// About eight marks at times that people count in, every second of them also on a narrow page.
    pub fn ticks(&self) -> Vec<Tick> {
        let step = TIME_STEPS.into_iter().find(|step| self.length() / step <= 10.0);
        let step = step.unwrap_or(self.length() / 5.0);
        let first = (self.from / step).ceil();
        let mut ticks = Vec::new();
        for index in 0..=12 {
            let number = first + f64::from(index);
            let at = number * step;
            if at > self.to {
                break;
            }
            ticks.push(Tick {
                share: self.share(at),
                label: if at == 0.0 { "0".to_owned() } else { plain::seconds(at) },
                major: number.rem_euclid(if self.length() / step > 5.0 { 3.0 } else { 2.0 }) == 0.0,
            });
        }
        ticks
    }
}

/// The axis of the values of a probe.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    step: f64,
}

impl Scale {
    /// For what was measured, what was expected and what was to stop it.
    pub fn of(probe: &Probe, stops: &[&Stop]) -> Self {
        let bounds = stops.iter().filter_map(|stop| stop.bound).chain(probe.bound);
        let values = probe.samples.iter().filter_map(|sample| sample.value);
        Self::over(values.chain(bounds))
    }

    /// For counts and rates, from zero on.
    pub fn over(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            // The smallest numbers are nothing to people, and cannot be divided any more.
            let value = if value.abs() < 1e-290 { 0.0 } else { value };
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // Most of what is measured is nothing at its best; what stays far from that is shown from where it is.
        if low >= 0.0 && low < 0.75 * high {
            low = 0.0;
        }
        // The sums of the largest numbers are none any more.
        let (mut low, mut high) = (low.max(-1e300), high.min(1e300));
        if high - low <= f64::EPSILON * high.abs().max(low.abs()) {
            let room = if high == 0.0 { 1.0 } else { high.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        let step = nice((high - low) / 3.0);
        // The highest and the lowest value do not lie on the frame, but zero does.
        let room = (high - low) * 0.06;
        Self { low: if low == 0.0 { 0.0 } else { low - room }, high: high + room, step }
    }

    /// Where a value is: 0 is the lower end, 1 the upper one.
    pub fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Three to five marks.
    pub fn ticks(&self, unit: &str) -> Vec<Tick> {
        let first = (self.low / self.step).ceil();
        let marks = (0..=8).map(|index| (first + f64::from(index)) * self.step);
        let marks = marks.take_while(|value| *value <= self.high);
        let mark = |value: f64| Tick {
            share: self.share(value),
            label: label(value, unit, self.high.abs().max(self.low.abs())),
            major: true,
        };
        marks.map(mark).collect()
    }
}

/// All marks of an axis in the unit of the largest.
fn label(value: f64, unit: &str, largest: f64) -> String {
    match unit {
        _ if value == 0.0 => "0".to_owned(),
        "s" if largest < 1.0 => format!("{} ms", plain::number(value * 1000.0)),
        "s" => format!("{} s", plain::number(value)),
        "%" => plain::measured(value, unit),
        // A unit that was made up may be long; it stands beside the name of the probe.
        _ => short(value),
    }
}

/// `12 k` for what would not fit.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e9 => format!("{value:.0e}"),
        v if v >= 1e6 => format!("{} M", plain::number(value / 1e6)),
        v if v >= 1e4 => format!("{} k", plain::number(value / 1e3)),
        _ => plain::number(value),
    }
}

/// The next of 1, 2, 5, 10, ... that is not smaller.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999).unwrap_or(10.0);
    factor * power
}

#[cfg(test)]
mod tests {
    use super::{Scale, Time, nice};
    use crate::record::{Probe, Record, Sample};

    #[test]
    fn times_are_marked_where_people_count() {
        let sample = |at| Sample { at, ..Sample::default() };
        let probe = Probe { samples: vec![sample(-30.0), sample(90.0)], ..Probe::default() };
        let record = Record { probes: vec![probe], ..Record::default() };
        let ticks = Time::of(&record).ticks();
        let labels: Vec<&str> = ticks.iter().map(|tick| &*tick.label).collect();
        assert_eq!(["−30 s", "−15 s", "0", "15 s", "30 s", "45 s", "60 s", "75 s", "90 s"], labels[..]);
        assert!(ticks.iter().any(|tick| tick.label == "0" && tick.major));
        assert!(ticks.windows(2).all(|two| two[0].share < two[1].share));
    }

    #[test]
    fn no_record_is_too_odd_for_an_axis() {
        for at in [f64::NAN, f64::INFINITY, -1e12, 1e12, 1e-9] {
            let probe = Probe { samples: vec![Sample { at, ..Sample::default() }], ..Probe::default() };
            let time = Time::of(&Record { probes: vec![probe], ..Record::default() });
            assert!(time.length().is_finite() && (0.0..=1.0).contains(&time.share(0.0)), "{at}");
            assert!(!time.ticks().is_empty() && time.ticks().len() < 15, "{at}");
        }
    }

    #[test]
    fn values_are_marked_in_round_steps() {
        let labels = |values: &[f64], unit: &str| -> Vec<String> {
            Scale::over(values.iter().copied()).ticks(unit).into_iter().map(|tick| tick.label).collect()
        };
        assert_eq!(["0", "0.1 %", "0.2 %", "0.3 %"], labels(&[0.0005, 0.003], "%")[..]);
        assert_eq!(["0", "500 ms"], labels(&[0.05, 0.9], "s")[..]);
        assert_eq!(["0", "20 k", "40 k"], labels(&[10.0, 50_000.0], "")[..]);
        for odd in [&[][..], &[f64::NAN], &[0.0], &[7.0], &[-3.0, -3.0], &[1e308, -1e308], &[5e-324]] {
            let ticks = Scale::over(odd.iter().copied()).ticks("");
            assert!((1..10).contains(&ticks.len()), "{odd:?}: {ticks:?}");
            assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.share)), "{odd:?}: {ticks:?}");
        }
        assert!((nice(0.03) - 0.05).abs() < 1e-9 && (nice(7.0) - 10.0).abs() < 1e-9);
    }
}
