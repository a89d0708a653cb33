//! `windows`, `every` and `cool_down`: when an experiment may run.
//!
//! The three go into a [`Schedule`]; their places in the file are kept for a start in the foreground, which nobody
//! repeats and which is refused outside the windows. What must stay true: a schedule that is accepted has a window that
//! is long enough for the time box.

use std::{ops::Range, time::Duration};

use jiff::Timestamp;

use super::{
    Problem, Section,
    value::{Span, Window},
};
use crate::schedule::{Next, Schedule};

/// More windows than anybody reads.
const MAX_WINDOWS: usize = 32;

const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(4 * 7 * 24);

/// Where the fields are.
#[derive(Debug, Default)]
pub struct Places {
    windows: Option<Range<usize>>,
    repeats: Option<Range<usize>>,
}

/// Reads the fields of an experiment with this time box.
pub fn read(file: &mut Section<'_>, duration: Duration) -> Result<(Schedule, Places), Problem> {
    let place = file.place_of("windows");
    let windows = windows(file, "windows")?;
    let every = every(file, duration)?;
    let cool_down = file.get::<Span>("cool_down")?;
    if let Some(apart) = &cool_down {
        check_cool_down(apart.span(), apart.get_ref().0, every.is_some())?;
    }
    let repeats = every.as_ref().map(|(_, place)| place.clone());
    let schedule = Schedule {
        windows,
        every: every.map(|(every, _)| every),
        cool_down: cool_down.map_or(Duration::ZERO, |apart| apart.into_inner().0),
    };
    match place.clone().filter(|_| !schedule.has_room_for(duration)) {
        Some(place) => Err(too_short(place, duration)),
        None => Ok((schedule, Places { windows: place, repeats })),
    }
}

/// The windows under this key.
pub fn windows(file: &mut Section<'_>, key: &'static str) -> Result<Vec<Window>, Problem> {
    let windows = file.list::<Window>(key)?.unwrap_or_default();
    if let Some(extra) = windows.get(MAX_WINDOWS) {
        return Err(Problem::at(extra.span(), format!("more than {MAX_WINDOWS} windows"), "one too many")
            .help("days and dates can be ranges: \"Sat..Sun 00:00-24:00\", \"2026-12-20..2027-01-03 00:00-24:00\""));
    }
    Ok(windows.into_iter().map(toml::Spanned::into_inner).collect())
}

fn every(file: &mut Section<'_>, duration: Duration) -> Result<Option<(Duration, Range<usize>)>, Problem> {
    let Some(every) = file.get::<Span>("every")? else { return Ok(None) };
    let (place, Span(every)) = (every.span(), every.into_inner());
    if !(SHORTEST..=LONGEST).contains(&every) {
        return Err(Problem::at(place, "`every` is out of range", "from start to start")
            .help("write 1m to 4w, such as every = \"1d\""));
    }
    if every < duration {
        return Err(Problem::at(place, "`every` is shorter than the time box", "from start to start")
            .help(format!("a run may take {}: repeat it after this time or later", Span(duration))));
    }
    Ok(Some((every, place)))
}

fn check_cool_down(place: Range<usize>, cool_down: Duration, repeats: bool) -> Result<(), Problem> {
    if !repeats {
        return Err(Problem::at(place, "`cool_down` means nothing without `every`", "runs once")
            .help("say how often it runs, such as every = \"1d\", or leave `cool_down` out"));
    }
    if cool_down > LONGEST {
        return Err(Problem::at(place, "`cool_down` is too long", "from an end to the next start")
            .help("write at most 4w, such as cool_down = \"10m\""));
    }
    Ok(())
}

fn too_short(place: Range<usize>, duration: Duration) -> Problem {
    Problem::at(place, "no window is long enough for the time box", "every run must end inside a window")
        .help(format!("a run takes {}: make a window that long, or `duration` shorter", Span(duration)))
}

/// Refuses what only the daemon does, and a start at `now` outside the windows.
pub fn refuse_in_foreground(
    schedule: &Schedule,
    places: &Places,
    duration: Duration,
    now: Timestamp,
) -> Result<(), Problem> {
    if let Some(place) = places.repeats.clone() {
        return Err(Problem::at(place, "only the daemon repeats", "a run in the foreground runs once")
            .help("leave out `every` and `cool_down`, or give the file to the daemon"));
    }
    let next = schedule.next_start(now, duration, None, &[]);
    let place = places.windows.clone().unwrap_or_default();
    let message = match &next {
        Next::Now => return Ok(()),
        Next::At(_) => {
            format!(
                "the experiment may not start now: the next window opens {}",
                schedule.describe(&next, now)
            )
        }
        Next::Never { why } => format!("the experiment may not start any more: {why}"),
    };
    Err(Problem::at(place, message, "a run must begin and end inside a window")
        .help("wait until then, give the file to the daemon, which waits, or change `windows`"))
}
