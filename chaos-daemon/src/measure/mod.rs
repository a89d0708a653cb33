//! Measurements of how a service and its users fare: what Prometheus says, whether a server answers, what a command
//! says, how long tasks wait, what the faults have done so far. One file per source.
//!
//! A [`Source`] is what the file says; a [`Meter`] measures it, again and again. Nothing is judged here: that is for who
//! asks ([`crate::guard::stop`]). What must stay true: a measurement never blocks the thread and ends within the time it
//! is given, and what cannot be measured is an error and never a number.

mod client;
mod command;
mod counter;
mod error;
mod http;
mod load;
mod names;
mod pressure;
mod prometheus;
mod tcp;

use std::{collections::BTreeSet, ops::Range, pin::Pin, sync::Arc, time::Duration};

use chaos_common::counters::Counters;

pub use self::{
    client::{body, keeping as keeping_client, of as client, shown, url},
    command::Command,
    counter::Counter,
    error::{MeasureError, chain},
    http::{Http, limit},
    load::Load,
    pressure::Pressure,
    prometheus::Prometheus,
    tcp::Tcp,
};
use crate::{
    config::{
        Problem, Section,
        value::{Unit, When},
    },
    load::Statistics,
    printable::printable,
};

/// What is measured, as the file says.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A query to a Prometheus.
    Prometheus(Prometheus),
    /// A GET and its answer.
    Http(Http),
    /// A TCP connection.
    Tcp(Tcp),
    /// A program and its exit code.
    Command(Command),
    /// How long tasks wait for a resource.
    Pressure(Pressure),
    /// What the faults have done so far.
    Counter(Counter),
    /// How the experiment's own load fares.
    Load(Load),
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// Numbers, none of them NaN: one, or as many as a query has found.
    Numbers(Vec<Sample>),
    /// All is as it should be.
    Well,
    /// It is not, and this is what is wrong.
    Unwell(String),
}

/// A number, and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In words.
    pub of: String,
    /// Any number but NaN.
    pub value: f64,
}

/// The answer of [`Counts`].
pub type Counted = Pin<Box<dyn Future<Output = Result<Vec<Counters>, String>> + Send>>;

/// Asks for what each fault has done so far, in file order.
pub type Counts = Arc<dyn Fn() -> Counted + Send + Sync>;

/// What only the experiment itself can tell.
#[derive(Clone)]
pub struct Inside {
    /// What its faults have done.
    pub counts: Counts,
    /// How its load fares, if it has one.
    pub load: Option<Arc<Statistics>>,
}

impl Inside {
    /// That of an experiment without load of its own, with these counts.
    pub const fn of(counts: Counts) -> Self {
        Self { counts, load: None }
    }
}

/// The sources by the names of their fields.
pub const KEYS: [&str; 7] = ["prometheus", "http", "tcp", "command", "pressure", "counter", "load"];

impl Source {
    /// Whether a program is started for it.
    pub const fn is_command(&self) -> bool {
        matches!(self, Self::Command(_))
    }

    /// Whether it is about the experiment's own load.
    pub const fn is_load(&self) -> bool {
        matches!(self, Self::Load(_))
    }

    /// Reads the one source of a table. `faults` are the names of the experiment's faults, in file order.
    pub fn read(section: &mut Section<'_>, faults: &[String]) -> Result<Self, Problem> {
        let key = only_key(section)?;
        Ok(match key {
            "prometheus" => Self::Prometheus(Prometheus::read(section)?),
            "http" => Self::Http(Http::read(section)?),
            "tcp" => Self::Tcp(Tcp::read(section)?),
            "command" => Self::Command(Command::read(section)?),
            "pressure" => Self::Pressure(Pressure::read(section)?),
            "counter" => Self::Counter(Counter::read(section, faults)?),
            "load" => Self::Load(Load::read(section)?),
            _ => return Err(absent(section)),
        })
    }

    /// Its name, as in the file.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Prometheus(_) => "prometheus",
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Command(_) => "command",
            Self::Pressure(_) => "pressure",
            Self::Counter(_) => "counter",
            Self::Load(_) => "load",
        }
    }

    /// Whether it measures numbers, and cannot be judged without something to compare them with.
    pub const fn needs_when(&self) -> bool {
        matches!(self, Self::Pressure(_) | Self::Counter(_) | Self::Load(_))
    }

    /// Whether a comparison with a number means anything.
    pub const fn takes_when(&self) -> bool {
        matches!(self, Self::Prometheus(_)) || self.needs_when()
    }

    /// Whether it says itself how long an answer may take, or takes no time.
    pub const fn takes_timeout(&self) -> bool {
        matches!(self, Self::Prometheus(_) | Self::Command(_))
    }

    /// Refuses a comparison that can never hold, or that means something else than it seems to.
    pub fn check_when(&self, when: &When, span: Range<usize>) -> Result<(), Problem> {
        match self {
            Self::Pressure(_) if !(0.0..=1.0).contains(&when.bound) => {
                let message = format!("a pressure lies between 0% and 100%, and {when} does not");
                Err(Problem::at(span, message, "never so").help(format!(
                    "write it in per cent, such as \"> 20%\"; a plain number is a fraction: {} is {}%",
                    when.bound,
                    when.bound * 100.0
                )))
            }
            Self::Load(source) => source.check_when(when, span),
            Self::Counter(_) if when.unit != Unit::Number => {
                Err(Problem::at(span, "a count is no share, and no length of time", "in another unit")
                    .help("write \"> 1000\""))
            }
            Self::Prometheus(_)
            | Self::Http(_)
            | Self::Tcp(_)
            | Self::Command(_)
            | Self::Pressure(_)
            | Self::Counter(_) => Ok(()),
        }
    }

    /// In words: what is measured.
    pub fn describe(&self) -> String {
        let text = match self {
            Self::Prometheus(source) => source.describe(),
            Self::Http(source) => source.describe(),
            Self::Tcp(source) => source.describe(),
            Self::Command(source) => source.describe(),
            Self::Pressure(source) => source.describe(),
            Self::Counter(source) => source.describe(),
            Self::Load(source) => source.describe(),
        };
        printable(&text)
    }

    /// Prepares for measuring. `inside` is what the experiment tells that it stands in.
    pub fn meter(&self, inside: Inside) -> Result<Meter, MeasureError> {
        let client = match self {
            Self::Prometheus(source) => Some(client::of(&source.url)?),
            Self::Http(source) => Some(client::of(&source.url)?),
            Self::Tcp(_) | Self::Command(_) | Self::Pressure(_) | Self::Counter(_) | Self::Load(_) => None,
        };
        Ok(Meter { source: self.clone(), client, inside })
    }
}

/// The source that is there: exactly one must be.
fn only_key(section: &Section<'_>) -> Result<&'static str, Problem> {
    let found: BTreeSet<_> = KEYS
        .iter()
        .filter_map(|key| section.place_of(key).map(|place| (place.start, place.end, *key)))
        .collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((.., key)), None) => Ok(key),
        (Some(_), Some((start, end, second))) => {
            Err(Problem::at(start..end, format!("{} has two sources", section.title()), "the second one")
                .help(format!("write `{second}` into a {} of its own", section.title())))
        }
        (None, _) => Err(KEYS.iter().find_map(|key| section.misspelt(key)).unwrap_or_else(|| {
            let message = format!("{} has no source", section.title());
            Problem::at(section.span(), message, "nothing is measured")
                .help(format!("say what is to be looked at, with one of: {}", KEYS.join(", ")))
        })),
    }
}

/// Where a source is read that is not there. [`only_key`] has looked before, so this is never seen.
fn absent(section: &Section<'_>) -> Problem {
    Problem::at(section.span(), format!("{} has no source", section.title()), "nothing is measured")
}

/// Measures one source.
pub struct Meter {
    source: Source,
    client: Option<reqwest::Client>,
    inside: Inside,
}

impl Meter {
    /// Measures once. `timeout` is for sources that have no limit of their own.
    pub async fn measure(&self, timeout: Duration) -> Result<Measured, MeasureError> {
        let client = || self.client.as_ref().ok_or_else(|| MeasureError::Failed("no client".to_owned()));
        match &self.source {
            Source::Prometheus(source) => in_time(timeout, source.measure(client()?)).await,
            Source::Http(source) => Ok(source.measure(client()?).await),
            Source::Tcp(source) => source.measure().await,
            Source::Command(source) => in_time(timeout, source.measure()).await,
            Source::Pressure(source) => source.measure(),
            Source::Counter(source) => {
                source.measure(&(self.inside.counts)().await.map_err(MeasureError::Failed)?)
            }
            Source::Load(source) => source.measure(self.inside.load.as_ref()),
        }
    }
}

async fn in_time<T>(
    timeout: Duration,
    measurement: impl Future<Output = Result<T, MeasureError>>,
) -> Result<T, MeasureError> {
    tokio::time::timeout(timeout, measurement).await.unwrap_or(Err(MeasureError::TimedOut(timeout)))
}
