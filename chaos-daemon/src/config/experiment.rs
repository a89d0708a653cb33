//! The experiment as a whole: its name, its time box, its target, its faults.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use toml::Spanned;

use super::{
    ConfigError, FaultSpec, LineRoom, Problem, Section, TargetSpec, target,
    value::{Seed, Span},
};
use crate::bpf::Feature;

/// The longest time box: nobody means to leave a fault on overnight.
pub const MAX_DURATION: Duration = Duration::from_hours(1);

/// A checked experiment. Names in it (cgroups, hosts) have not been looked up yet.
#[derive(Debug)]
pub struct Experiment {
    /// Its name in metrics, reports and messages.
    pub name: String,
    /// What its author expects.
    pub hypothesis: Option<String>,
    /// The time box.
    pub duration: Duration,
    /// Whether anything is hit.
    pub mode: Mode,
    /// What the draws start from; `None`: a fresh one each run.
    pub seed: Option<u64>,
    /// Whose packets and calls.
    pub target: Spanned<TargetSpec>,
    /// Whether protected processes and far ends may be hit.
    pub allow_protected: bool,
    /// How much may wait at a time, if packets must.
    pub line_room: LineRoom,
    /// The faults in file order.
    pub faults: Vec<FaultSpec>,
    source: Source,
}

/// The text an experiment was read from, for errors that are found later.
#[derive(Debug)]
struct Source {
    origin: String,
    text: String,
}

/// Whether the faults are injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are.
    Inject,
    /// Everything runs and counts, nothing is hit.
    Shadow,
}

impl Mode {
    /// As in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inject => "inject",
            Self::Shadow => "shadow",
        }
    }
}

impl Experiment {
    /// A mistake that only showed when names were looked up, tied to its place in the file.
    pub fn mistake(&self, problem: Problem) -> Box<ConfigError> {
        Box::new(problem.in_source(&self.source.origin, &self.source.text))
    }

    /// Reads and checks `text`; `origin` is what errors call it.
    pub(super) fn parse(origin: &str, text: &str, fallback_name: &str) -> Result<Self, Problem> {
        let mut file = Section::file(text)?;
        let name = name(&mut file, fallback_name)?.into_inner();
        let hypothesis = file.get::<String>("hypothesis")?.map(Spanned::into_inner);
        let duration = duration(&mut file)?;
        let mode = mode(&mut file)?;
        let seed = file.get::<Seed>("seed")?.map(|seed| seed.into_inner().0);
        let allow_protected = file.get::<bool>("allow_protected")?.is_some_and(Spanned::into_inner);
        let target = target::read(&mut file)?;
        let room = LineRoom::read(&mut file)?;
        let sections = file.tables("fault")?;
        file.finish()?;
        if sections.is_empty() {
            return Err(Problem::at(
                text.len()..text.len(),
                "the experiment has no faults",
                "no [[fault]] up to here",
            )
            .help("add at least one: a line [[fault]], below it kind = \"drop\" and what it applies to"));
        }
        if sections.len() > chaos_common::MAX_RULES {
            let extra = &sections[chaos_common::MAX_RULES];
            return Err(Problem::at(extra.span(), "too many faults in one experiment", "one too many")
                .help(format!("an experiment holds at most {} faults", chaos_common::MAX_RULES)));
        }
        let mut names = BTreeSet::new();
        let faults = sections
            .into_iter()
            .enumerate()
            .map(|(index, section)| FaultSpec::read(section, index, duration, &mut names))
            .collect::<Result<Vec<_>, _>>()?;
        let line_room = line_room(room, &faults)?;
        let source = Source { origin: origin.to_owned(), text: text.to_owned() };
        Ok(Self {
            name,
            hypothesis,
            duration,
            mode,
            seed,
            target,
            allow_protected,
            line_room,
            faults,
            source,
        })
    }
}

/// The room that packets have to wait in. Where none waits, there is nothing to say about it.
fn line_room(room: Option<(LineRoom, Range<usize>)>, faults: &[FaultSpec]) -> Result<LineRoom, Problem> {
    let Some((room, span)) = room else { return Ok(LineRoom::default()) };
    let waits = |spec: &FaultSpec| spec.fault.needs().iter().any(|need| need.feature == Feature::DelayLine);
    if faults.iter().any(waits) {
        return Ok(room);
    }
    Err(Problem::at(span, "[delay_line] means nothing where no packet waits", "for no fault")
        .help("leave it out, or add a fault that makes packets wait, such as kind = \"delay\""))
}

/// What a name may consist of.
pub(super) fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The `name` of an experiment or a fault: it becomes a label of metrics.
pub(super) fn name(section: &mut Section<'_>, fallback: &str) -> Result<Spanned<String>, Problem> {
    let Some(name) = section.get::<String>("name")? else {
        return Ok(Spanned::new(section.span(), fallback.to_owned()));
    };
    let text = name.get_ref();
    if text.is_empty() || text.len() > 63 || !text.chars().all(is_name_character) {
        return Err(Problem::at(
            name.span(),
            format!("the name of {} is not usable as a label", section.title()),
            "here",
        )
        .help("use 1 to 63 letters, digits, '-', '_' or '.'"));
    }
    Ok(name)
}

fn duration(file: &mut Section<'_>) -> Result<Duration, Problem> {
    let span = file.need::<Span>("duration", "\"60s\", the time box after which every fault is off")?;
    let duration = span.get_ref().0;
    if duration.is_zero() {
        return Err(Problem::at(span.span(), "the time box is zero", "nothing would ever be injected")
            .help("give a length of time: duration = \"60s\""));
    }
    if duration > MAX_DURATION {
        return Err(Problem::at(
            span.span(),
            format!("the time box of {} is too long", span.get_ref()),
            "over this host's maximum",
        )
        .help(format!("the maximum is {}", Span(MAX_DURATION))));
    }
    Ok(duration)
}

fn mode(file: &mut Section<'_>) -> Result<Mode, Problem> {
    let Some(mode) = file.get::<String>("mode")? else { return Ok(Mode::Inject) };
    match mode.get_ref().as_str() {
        "inject" => Ok(Mode::Inject),
        "shadow" => Ok(Mode::Shadow),
        other => Err(Problem::at(mode.span(), format!("unknown mode \"{other}\""), "not a mode")
            .help("write \"inject\", or \"shadow\" to count what would be hit and hit nothing")),
    }
}
