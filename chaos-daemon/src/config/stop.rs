//! `[[stop]]`: when an experiment is to end at once. What is looked at is read by [`crate::measure`], the same for all who
//! measure; here is what makes of it a reason to stop.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use toml::Spanned;

use super::{
    Problem, Section,
    look::{self, Look, Whose},
    value::{Span, When},
};
use crate::measure::Source;

/// A stop condition, read and checked. Whether it can be measured is found out before the start.
#[derive(Clone, Debug)]
pub struct StopSpec {
    /// Its name in metrics and reports: 1 to 63 characters, unique in its file.
    pub name: String,
    /// What is looked at.
    pub source: Source,
    /// What a number must be for the condition to hold; `None`: it holds if there is any, or if what is measured is not
    /// as it should be.
    pub when: Option<When>,
    /// How long it must hold without a break.
    pub held_for: Duration,
    /// How often it is looked at.
    pub interval: Duration,
    /// How long a look may take, for sources that do not say so themselves.
    pub timeout: Duration,
    /// What to do if nobody can tell.
    pub on_error: OnError,
    /// Its place in the file.
    pub span: Range<usize>,
}

/// What to do if a condition cannot be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// As if it held.
    Stop,
    /// As if nobody had looked.
    Ignore,
}

const WHOSE: Whose = Whose { one: "a stop condition", more: "stop conditions" };

/// Reads all of them. `faults` are the names of the experiment's faults; it lasts `duration`.
pub fn read(
    sections: Vec<Section<'_>>,
    faults: &[String],
    duration: Duration,
) -> Result<Vec<StopSpec>, Problem> {
    look::refuse_too_many(&sections, WHOSE)?;
    let mut names = BTreeSet::new();
    let read = |(index, section)| StopSpec::read(section, index, faults, duration, &mut names);
    sections.into_iter().enumerate().map(read).collect()
}

impl StopSpec {
    fn read(
        mut table: Section<'_>,
        index: usize,
        faults: &[String],
        duration: Duration,
        names: &mut BTreeSet<String>,
    ) -> Result<Self, Problem> {
        let section = &mut table;
        let Look { name, source, interval, timeout, span } =
            Look::read(section, WHOSE, index, faults, names)?;
        let when = section.get::<When>("when")?;
        let held_for = held_for(section, duration)?;
        let on_error = on_error(section)?;
        check_when(&source, when.as_ref(), &span)?;
        table.finish()?;
        Ok(Self {
            name,
            source,
            when: when.map(Spanned::into_inner),
            held_for,
            interval,
            timeout,
            on_error,
            span,
        })
    }

    /// In words: when it holds.
    pub fn describe(&self) -> String {
        let what = self.source.describe();
        let mut text = match (&self.source, &self.when) {
            (_, Some(when)) => format!("{what} is {when}"),
            (Source::Prometheus(_), None) => format!("{what} finds anything"),
            (_, None) => format!("not: {what}"),
        };
        if !self.held_for.is_zero() {
            text += &format!(" for {}", Span(self.held_for));
        }
        text
    }
}

fn held_for(section: &mut Section<'_>, duration: Duration) -> Result<Duration, Problem> {
    let Some(span) = section.get::<Span>("for")? else { return Ok(Duration::ZERO) };
    if span.get_ref().0 < duration {
        return Ok(span.get_ref().0);
    }
    let message =
        format!("the condition would have to hold for {}, when the experiment is over", span.get_ref());
    Err(Problem::at(span.span(), message, "not inside the time box")
        .help(format!("the experiment lasts {}: ask for less, or make `duration` longer", Span(duration))))
}

fn on_error(section: &mut Section<'_>) -> Result<OnError, Problem> {
    let Some(word) = section.get::<String>("on_error")? else { return Ok(OnError::Stop) };
    match word.get_ref().as_str() {
        "stop" => Ok(OnError::Stop),
        "ignore" => Ok(OnError::Ignore),
        other => Err(Problem::at(word.span(), format!("`on_error` cannot be \"{other}\""), "unknown").help(
            "write \"stop\", or \"ignore\" to go on while nobody can tell whether the condition holds",
        )),
    }
}

/// Numbers must be compared with something, and there must be numbers.
fn check_when(source: &Source, when: Option<&Spanned<When>>, span: &Range<usize>) -> Result<(), Problem> {
    match when {
        Some(when) if !source.takes_when() => {
            let message = format!("`when` means nothing for {}, which measures no number", source.key());
            Err(Problem::at(when.span(), message, "for nothing")
                .help("leave it out: the condition holds when what is looked at is not as it should be"))
        }
        Some(when) => source.check_when(when.get_ref(), when.span()),
        None if source.needs_when() => {
            let message = format!("a stop condition on {} needs a `when`", source.key());
            let example = match source.key() {
                "pressure" => "> 20%",
                "load" => "> 1s",
                _ => "> 1000",
            };
            Err(Problem::at(span.clone(), message, "`when` is missing")
                .help(format!("say which numbers are too much: when = \"{example}\"")))
        }
        None => Ok(()),
    }
}
