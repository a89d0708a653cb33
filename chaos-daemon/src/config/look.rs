//! What a stop condition and a probe have in common: a name, a source, how often it is looked at, and how long that may
//! take.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use toml::Spanned;

use super::{Problem, Section, value::Span};
use crate::measure::{self, Source};

/// Unless the file says otherwise.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);

const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);

/// More of either would be a monitoring system.
const MOST: usize = 64;

/// What it is of, for messages: "a probe", "probes".
#[derive(Clone, Copy, Debug)]
pub struct Whose {
    /// One.
    pub one: &'static str,
    /// More than one.
    pub more: &'static str,
}

/// The part that both have.
#[derive(Debug)]
pub struct Look {
    /// 1 to 63 characters, unique among those of its kind in the file.
    pub name: String,
    /// What is looked at.
    pub source: Source,
    /// How often.
    pub interval: Duration,
    /// How long it may take, for sources that do not say so themselves.
    pub timeout: Duration,
    /// Its place in the file.
    pub span: Range<usize>,
}

impl Look {
    /// Reads it from the `index`-th table. `faults` are the names of the experiment's faults, `names` those of the looks
    /// before it.
    pub fn read(
        section: &mut Section<'_>,
        whose: Whose,
        index: usize,
        faults: &[String],
        names: &mut BTreeSet<String>,
    ) -> Result<Self, Problem> {
        let span = section.span();
        let name = label(section, whose)?;
        let interval = interval(section)?;
        let timeout_place = section.place_of("timeout");
        let timeout = measure::limit(section, "timeout")?;
        let source = Source::read(section, faults)?;
        if let Some(place) = timeout_place.filter(|_| !source.takes_timeout()) {
            let message = format!("`timeout` means nothing for {}", source.key());
            return Err(Problem::at(place, message, "for nothing")
                .help("leave it out; http and tcp have `within`, and the others take no time"));
        }
        let name =
            name.unwrap_or_else(|| Spanned::new(span.clone(), format!("{}-{}", source.key(), index + 1)));
        if !names.insert(name.get_ref().clone()) {
            let message = format!("two {} are called \"{}\"", whose.more, name.get_ref());
            return Err(
                Problem::at(name.span(), message, "the second one").help("give each a `name` of its own")
            );
        }
        Ok(Self { name: name.into_inner(), source, interval, timeout: timeout.unwrap_or(TIMEOUT), span })
    }
}

/// Refuses more of them than there may be.
pub fn refuse_too_many(sections: &[Section<'_>], whose: Whose) -> Result<(), Problem> {
    let Some(extra) = sections.get(MOST) else { return Ok(()) };
    Err(Problem::at(extra.span(), format!("too many {} in one experiment", whose.more), "one too many")
        .help(format!("an experiment has at most {MOST}")))
}

/// The name is for people, who are told what was wrong: unlike that of a fault it may be a sentence.
fn label(section: &mut Section<'_>, whose: Whose) -> Result<Option<Spanned<String>>, Problem> {
    let Some(name) = section.get::<String>("name")? else { return Ok(None) };
    let text = name.get_ref();
    let usable = (1..=63).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.trim().len() == text.len();
    if usable {
        return Ok(Some(name));
    }
    Err(Problem::at(name.span(), format!("the name of {} is not usable as a label", whose.one), "here")
        .help("use 1 to 63 characters, no control characters, and no spaces around them"))
}

fn interval(section: &mut Section<'_>) -> Result<Duration, Problem> {
    let Some(span) = section.get::<Span>("interval")? else { return Ok(INTERVAL) };
    let interval = span.get_ref().0;
    if (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        return Ok(interval);
    }
    Err(Problem::at(span.span(), format!("`interval` is out of range: {}", span.get_ref()), "out of range")
        .help(format!("it is looked at every {} to {}", Span(SHORTEST_INTERVAL), Span(LONGEST_INTERVAL))))
}
