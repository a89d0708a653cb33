//! `load = "p99"`: how the requests of the experiment's own load fare, over the last seconds (`window`).

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{MeasureError, Measured, Sample, absent};
use crate::{
    config::{
        Problem, Section,
        value::{Span, Unit, When},
    },
    load::{LONGEST_WINDOW, Statistics, What},
};

/// Which number, and over how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Which number.
    pub what: What,
    /// Over how long.
    pub window: Duration,
}

const WHAT: [(&str, What); 4] = [
    ("p50", What::P50),
    ("p99", What::P99),
    ("error_rate", What::ErrorRate),
    ("throughput", What::Throughput),
];

const WINDOW: Duration = Duration::from_secs(5);
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

impl Load {
    /// Reads the source.
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        let Some(written) = section.get::<String>("load")? else { return Err(absent(section)) };
        let Some((_, what)) = WHAT.iter().find(|(name, _)| name == written.get_ref()) else {
            let message = format!("unknown number of a load: \"{}\"", written.get_ref());
            return Err(Problem::at(written.span(), message, "is not measured")
                .help(format!("write one of: {}", WHAT.map(|(name, _)| name).join(", "))));
        };
        let window = section.get::<Span>("window")?;
        if let Some(bad) =
            window.as_ref().filter(|w| !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&w.get_ref().0))
        {
            let message = format!("`window` is out of range: {}", bad.get_ref());
            return Err(Problem::at(bad.span(), message, "out of range").help(format!(
                "write {} to {}",
                Span(SHORTEST_WINDOW),
                Span(LONGEST_WINDOW)
            )));
        }
        Ok(Self { what: *what, window: window.map_or(WINDOW, |window| window.get_ref().0) })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let name = WHAT.iter().find(|(_, what)| *what == self.what).map_or("", |(name, _)| name);
        format!("{} of the load over {}", name.replace('_', " "), Span(self.window))
    }

    /// Refuses a comparison in another unit than that of its numbers.
    pub(super) fn check_when(&self, when: &When, span: Range<usize>) -> Result<(), Problem> {
        let (right, example) = match self.what {
            What::P50 | What::P99 => (when.unit == Unit::Time, "< 300ms"),
            What::ErrorRate => (when.unit != Unit::Time && (0.0..=1.0).contains(&when.bound), "< 1%"),
            What::Throughput => (when.unit == Unit::Number, "> 190"),
        };
        if right {
            return Ok(());
        }
        let message = format!("{} cannot be {when}", self.describe());
        Err(Problem::at(span, message, "in another unit").help(format!("write it as in \"{example}\"")))
    }

    pub(super) fn measure(&self, load: Option<&Arc<Statistics>>) -> Result<Measured, MeasureError> {
        let load = load.ok_or_else(|| MeasureError::Failed("there is no load".to_owned()))?;
        let value = load.value(self.what, self.window, Instant::now());
        let value = value.ok_or_else(|| {
            MeasureError::NoData(format!("no request of the load has ended within {}", Span(self.window)))
        })?;
        Ok(Measured::Numbers(vec![Sample { of: self.describe(), value }]))
    }
}
