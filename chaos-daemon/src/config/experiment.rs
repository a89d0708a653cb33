//! The experiment as a whole: its name, its time box, its target, its faults, and what ends it before its time.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use jiff::Timestamp;
use toml::Spanned;

use super::{
    ConfigError, FaultSpec, LineRoom, ProbeSpec, Problem, Section, Selector, Steady, StopSpec, TargetSpec,
    probe, schedule, stop, target,
    value::{Seed, Span},
};
use crate::{annotate::AnnotateSpec, bpf::Feature, load::LoadSpec, schedule::Schedule};

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
    /// When it may run, for the daemon.
    pub schedule: Schedule,
    /// Whether anything is hit.
    pub mode: Mode,
    /// What the draws start from; `None`: a fresh one each run.
    pub seed: Option<u64>,
    /// Whose packets and calls.
    pub target: Spanned<TargetSpec>,
    /// Whether protected processes and far ends may be hit.
    pub allow_protected: bool,
    /// Whether it may run beside another one on the same target.
    pub alongside: bool,
    /// How much may wait at a time, if packets must.
    pub line_room: LineRoom,
    /// The faults in file order.
    pub faults: Vec<FaultSpec>,
    /// Where its time box is written.
    pub duration_place: Range<usize>,
    /// Where `allow_protected` is.
    pub allow_protected_place: Option<Range<usize>>,
    schedule_places: schedule::Places,
    /// What ends it before its time, in file order.
    pub stops: Vec<StopSpec>,
    /// What steady state is, in file order.
    pub probes: Vec<ProbeSpec>,
    /// How it is looked at before and after the faults.
    pub steady: Steady,
    /// Load of its own.
    pub load: Option<LoadSpec>,
    /// Words to find its records by.
    pub tags: Vec<String>,
    /// Who is told that it runs.
    pub annotate: Option<AnnotateSpec>,
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

    /// The same, read once more.
    pub fn again(&self) -> Result<Self, Box<ConfigError>> {
        super::parse(&self.source.origin, &self.source.text, &self.name)
    }

    /// The text it was read from.
    pub fn document(&self) -> &str {
        &self.source.text
    }

    /// Refuses a start in the foreground, at `now`, that is outside the windows, and an experiment that repeats.
    pub fn may_start_in_foreground(&self, now: Timestamp) -> Result<(), Box<ConfigError>> {
        schedule::refuse_in_foreground(&self.schedule, &self.schedule_places, self.duration, now)
            .map_err(|problem| self.mistake(problem))
    }

    /// Reads and checks `text`; `origin` is what errors call it.
    pub(super) fn parse(origin: &str, text: &str, fallback_name: &str) -> Result<Self, Problem> {
        let mut file = Section::file(text)?;
        let name = name(&mut file, fallback_name)?.into_inner();
        let hypothesis = file.get::<String>("hypothesis")?.map(Spanned::into_inner);
        let (duration, duration_place) = duration(&mut file)?;
        let (schedule, schedule_places) = schedule::read(&mut file, duration)?;
        let mode = mode(&mut file)?;
        let seed = file.get::<Seed>("seed")?.map(|seed| seed.into_inner().0);
        let allow_protected_place = file.place_of("allow_protected");
        let allow_protected = file.get::<bool>("allow_protected")?.is_some_and(Spanned::into_inner);
        let alongside = file.get::<bool>("alongside")?.is_some_and(Spanned::into_inner);
        let target = target::read(&mut file)?;
        let room = LineRoom::read(&mut file)?;
        let sections = file.tables("fault")?;
        let stops = file.tables("stop")?;
        let load = LoadSpec::read(&mut file)?;
        let tags = tags(&mut file)?;
        let annotate = AnnotateSpec::read(&mut file)?;
        let faults = faults(sections, text.len(), duration)?;
        let names: Vec<String> = faults.iter().map(|fault| fault.name.clone()).collect();
        let (probes, steady) = probe::read(&mut file, &names, duration)?;
        file.finish()?;
        refuse_calls_of_namespaces(&target, &faults)?;
        refuse_acts_on_everything(&target, &faults)?;
        let line_room = line_room(room, &faults)?;
        let stops = stop::read(stops, &names, duration)?;
        refuse_load_that_is_not_there(load.as_ref(), &probes, &stops)?;
        let source = Source { origin: origin.to_owned(), text: text.to_owned() };
        Ok(Self {
            name,
            hypothesis,
            duration,
            schedule,
            mode,
            seed,
            target,
            allow_protected,
            alongside,
            line_room,
            faults,
            duration_place,
            allow_protected_place,
            schedule_places,
            stops,
            probes,
            steady,
            load,
            tags,
            annotate,
            source,
        })
    }
}

/// The faults in file order, one at least.
fn faults(sections: Vec<Section<'_>>, end: usize, duration: Duration) -> Result<Vec<FaultSpec>, Problem> {
    if sections.is_empty() {
        return Err(Problem::at(end..end, "the experiment has no faults", "no [[fault]] up to here")
            .help("add at least one: a line [[fault]], below it kind = \"drop\" and what it applies to"));
    }
    if let Some(extra) = sections.get(chaos_common::MAX_RULES) {
        return Err(Problem::at(extra.span(), "too many faults in one experiment", "one too many")
            .help(format!("an experiment holds at most {} faults", chaos_common::MAX_RULES)));
    }
    let mut names = BTreeSet::new();
    let read = |(index, section)| FaultSpec::read(section, index, duration, &mut names);
    sections.into_iter().enumerate().map(read).collect()
}

/// Calls are told apart by the processes that make them, and which of these are in a network namespace is not asked.
fn refuse_calls_of_namespaces(target: &Spanned<TargetSpec>, faults: &[FaultSpec]) -> Result<(), Problem> {
    let Some(fault) = faults.iter().find(|fault| fault.catches_a_call()) else { return Ok(()) };
    if !target.get_ref().selector.is_of_namespaces() {
        return Ok(());
    }
    let message = format!("call faults need processes, and `netns` names none (fault {})", fault.name);
    Err(Problem::at(target.span(), message, "no processes")
        .help("name the processes: cgroup, unit, container, pod, pid or command"))
}

/// What acts on processes and cgroups needs some that are named: there is nothing above the root that could be put back, and
/// nobody means all processes of a host.
fn refuse_acts_on_everything(target: &Spanned<TargetSpec>, faults: &[FaultSpec]) -> Result<(), Problem> {
    let Some(fault) = faults.iter().find(|fault| fault.fault.acts().is_some()) else { return Ok(()) };
    let selector = &target.get_ref().selector;
    let what = match selector {
        Selector::Host => "the whole host",
        _ if selector.is_of_namespaces() => "a network namespace",
        _ => return Ok(()),
    };
    let message = format!("kind \"{}\" cannot be done to {what} (fault {})", fault.fault.kind(), fault.name);
    Err(Problem::at(target.span(), message, "no cgroup of its own")
        .help("name the processes: cgroup, unit, container, pod, pid or command"))
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

/// What is measured of a load needs one.
fn refuse_load_that_is_not_there(
    load: Option<&LoadSpec>,
    probes: &[ProbeSpec],
    stops: &[StopSpec],
) -> Result<(), Problem> {
    let probes = probes.iter().map(|probe| (&probe.source, &probe.span));
    let mut all = probes.chain(stops.iter().map(|stop| (&stop.source, &stop.span)));
    match (load, all.find(|(source, _)| source.is_load())) {
        (None, Some((_, span))) => Err(Problem::at(
            span.clone(),
            "this experiment has no load of its own to measure",
            "of which load?",
        )
        .help("add a table [load] with http = \"http://...\" and rate = 200, or measure something else: prometheus, http, tcp, command")),
        _ => Ok(()),
    }
}

/// Words to find records by.
fn tags(file: &mut Section<'_>) -> Result<Vec<String>, Problem> {
    let tags = file.list::<String>("tags")?.unwrap_or_default();
    let usable = |tag: &str| (1..=63).contains(&tag.chars().count()) && !tag.chars().any(char::is_control);
    if let Some(bad) = tags.iter().find(|tag| !usable(tag.get_ref())) {
        return Err(Problem::at(bad.span(), "this is no tag", "here")
            .help("a tag has 1 to 63 characters, none of them a control character"));
    }
    Ok(tags.into_iter().map(Spanned::into_inner).collect())
}

/// What a name may consist of.
pub(crate) fn is_name_character(c: char) -> bool {
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

fn duration(file: &mut Section<'_>) -> Result<(Duration, Range<usize>), Problem> {
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
    Ok((duration, span.span()))
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
