//! `[[probe]]`: a measurement of steady state, and what it is expected to be. Sources are those of stop conditions
//! ([`crate::measure`]).
//!
//! What must stay true: a number without something to compare it with is an error, since nothing could ever be wrong.

use std::{collections::BTreeSet, fmt, ops::Range, str::FromStr, time::Duration};

use toml::Spanned;

use super::{
    Problem, Section,
    look::{self, Look, Whose},
    value::{Invalid, Span, When, deserialize_from_text},
};
use crate::measure::Source;

/// A probe, read and checked. Whether it can be measured is found out before the start.
#[derive(Clone, Debug)]
pub struct ProbeSpec {
    /// Its name in reports: 1 to 63 characters, unique in its file.
    pub name: String,
    /// What is looked at.
    pub source: Source,
    /// What its numbers are expected to be in steady state; `None`: the source itself says what is right.
    pub expect: Option<When>,
    /// What is expected while the faults are on, if that is something else.
    pub during: Option<During>,
    /// For how long at a time it may be otherwise while the faults are on.
    pub tolerate: Duration,
    /// How often it is looked at.
    pub interval: Duration,
    /// How long a look may take, for sources that do not say so themselves.
    pub timeout: Duration,
    /// Its place in the file.
    pub span: Range<usize>,
}

/// What a probe may be while the faults are on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum During {
    /// Whatever it is: it is recorded, and must come back afterwards.
    Any,
    /// Its numbers compare so.
    Expect(When),
}

deserialize_from_text!(During, "a comparison such as \"< 5%\", or \"any\"");

impl FromStr for During {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.trim() == "any" {
            return Ok(Self::Any);
        }
        text.parse().map(Self::Expect).map_err(|error: Invalid| {
            Invalid::new(
                error.message,
                format!("{}; or \"any\" to record it and judge it only afterwards", error.help),
            )
        })
    }
}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Expect(when) => when.fmt(f),
        }
    }
}

/// How steady state is looked at before and after the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    /// For how long it must hold before the faults go on.
    pub baseline: Duration,
    /// How long it may take to come back after they have gone off.
    pub recovery: Duration,
}

impl Default for Steady {
    fn default() -> Self {
        Self { baseline: Duration::from_secs(5), recovery: Duration::from_mins(1) }
    }
}

const WHOSE: Whose = Whose { one: "a probe", more: "probes" };

/// The longest time before and after the faults.
const LONGEST: Duration = Duration::from_mins(10);

/// Reads all of them, and how they are used. `faults` are the names of the experiment's faults; `duration` is its time
/// box.
pub fn read(
    file: &mut Section<'_>,
    faults: &[String],
    duration: Duration,
) -> Result<(Vec<ProbeSpec>, Steady), Problem> {
    let default = Steady::default();
    let baseline = length(file, "baseline")?;
    let recovery = length(file, "recovery")?;
    let sections = file.tables("probe")?;
    if let (true, Some(useless)) = (sections.is_empty(), baseline.as_ref().or(recovery.as_ref())) {
        return Err(Problem::at(
            useless.span(),
            "there is no probe to look at steady state with",
            "for nothing",
        )
        .help("add a [[probe]] with what is expected of it, or leave this out"));
    }
    look::refuse_too_many(&sections, WHOSE)?;
    let mut names = BTreeSet::new();
    let read = |(index, section)| ProbeSpec::read(section, index, faults, duration, &mut names);
    let probes: Vec<_> = sections.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let steady = Steady {
        baseline: baseline.map_or(default.baseline, Spanned::into_inner),
        recovery: recovery.map_or(default.recovery, Spanned::into_inner),
    };
    if let Some(slow) = probes.iter().find(|probe| probe.interval * LOOKS >= steady.recovery) {
        return Err(too_slow(slow, steady.recovery));
    }
    Ok((probes, steady))
}

/// How often a probe must be seen well after the faults went off ([`crate::steady`]).
const LOOKS: u32 = 2;

fn too_slow(probe: &ProbeSpec, recovery: Duration) -> Problem {
    let (name, interval, recovery) = (&probe.name, Span(probe.interval), Span(recovery));
    let message =
        format!("\"{name}\" is looked at every {interval}, too rarely to see steady state come back");
    Problem::at(probe.span.clone(), message, "never twice in time").help(format!(
        "it must be seen twice within `recovery`, which is {recovery}: make `interval` shorter, or `recovery` longer \
         than {}",
        Span(probe.interval * LOOKS)
    ))
}

fn length(file: &mut Section<'_>, key: &'static str) -> Result<Option<Spanned<Duration>>, Problem> {
    let Some(span) = file.get::<Span>(key)? else { return Ok(None) };
    let length = span.get_ref().0;
    if length.is_zero() || length > LONGEST {
        let message = format!("`{key}` is out of range: {}", span.get_ref());
        return Err(Problem::at(span.span(), message, "out of range")
            .help(format!("write more than 0 and at most {}", Span(LONGEST))));
    }
    Ok(Some(Spanned::new(span.span(), length)))
}

impl ProbeSpec {
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
        let during_place = section.place_of("during");
        let expect = section.get::<When>("expect")?;
        let during = section.get::<During>("during")?;
        let tolerate = tolerate(section, during.as_ref(), duration)?;
        check_expect(&source, expect.as_ref(), &span)?;
        if let (Some(During::Expect(when)), Some(place)) =
            (during.as_ref().map(Spanned::get_ref), during_place)
        {
            check_numbers(&source, when, place)?;
        }
        table.finish()?;
        let (expect, during) = (expect.map(Spanned::into_inner), during.map(Spanned::into_inner));
        Ok(Self { name, source, expect, during, tolerate, interval, timeout, span })
    }

    /// In words: what is expected in steady state.
    pub fn expected(&self) -> String {
        self.expect.map_or_else(|| "as it should be".to_owned(), |when| when.to_string())
    }
}

fn tolerate(
    section: &mut Section<'_>,
    during: Option<&Spanned<During>>,
    duration: Duration,
) -> Result<Duration, Problem> {
    let Some(span) = section.get::<Span>("tolerate")? else { return Ok(Duration::ZERO) };
    if during.is_some_and(|during| *during.get_ref() == During::Any) {
        return Err(Problem::at(
            span.span(),
            "`tolerate` means nothing where anything is allowed",
            "for nothing",
        )
        .help("leave out `tolerate`, or `during = \"any\"`"));
    }
    if span.get_ref().0 < duration {
        return Ok(span.get_ref().0);
    }
    let message = format!("{} are tolerated, and the faults are on for {}", span.get_ref(), Span(duration));
    Err(Problem::at(span.span(), message, "never too long")
        .help("write less than the time box, or during = \"any\" to judge it only afterwards"))
}

/// Numbers must be compared with something, and there must be numbers.
fn check_expect(source: &Source, expect: Option<&Spanned<When>>, span: &Range<usize>) -> Result<(), Problem> {
    match expect {
        Some(expect) => check_numbers(source, expect.get_ref(), expect.span()),
        None if source.takes_when() => {
            let example = match source.key() {
                "load" => "< 300ms",
                "pressure" => "< 20%",
                _ => "< 0.005",
            };
            let message = format!("a probe on {} needs an `expect`", source.key());
            Err(Problem::at(span.clone(), message, "`expect` is missing")
                .help(format!("say what is expected of its numbers: expect = \"{example}\"")))
        }
        None => Ok(()),
    }
}

fn check_numbers(source: &Source, when: &When, place: Range<usize>) -> Result<(), Problem> {
    if source.takes_when() {
        return source.check_when(when, place);
    }
    let message = format!("a comparison means nothing for {}, which measures no number", source.key());
    Err(Problem::at(place, message, "for nothing").help(match source.key() {
        "http" => "its own fields say what is right: status, body, within",
        "tcp" => "it is as it should be when a connection is accepted in time (`within`)",
        _ => "it is as it should be when the command ends with exit code 0",
    }))
}
