//! The experiment file: TOML text to a checked, typed [`Experiment`].
//!
//! [`section`] reads tables field by field and remembers which fields it was asked for, so that whatever is left over
//! is an error with a suggestion. [`value`] holds one file per kind of value. Everything that can be known from the
//! text alone is checked here; names (cgroups, hosts) are looked up by [`crate::target`] and [`crate::engine`].
//!
//! What must stay true: every error carries the place in the file ([`Problem`]), and nothing has a default that widens
//! what is hit: a selector that is missing or empty is an error.

mod experiment;
mod line_room;
mod look;
mod matching;
mod probe;
mod problem;
mod schedule;
pub(crate) mod section;
mod selector;
mod stop;
mod target;
mod too_wide;
pub mod value;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

pub(crate) use experiment::is_name_character;
pub use experiment::{Experiment, MAX_DURATION, Mode};
pub use line_room::LineRoom;
pub use matching::{FaultSpec, Packets, Pulse, Side};
pub use probe::{During, ProbeSpec, Steady};
pub use problem::{ConfigError, Problem};
pub(crate) use schedule::windows;
pub use section::Section;
pub use selector::{Pods, Selector};
pub use stop::{OnError, StopSpec};
pub use target::TargetSpec;
pub(crate) use target::has_wildcards;
pub(crate) use too_wide::{is_every_cgroup, unit_name, whole_host};

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Reads and checks the experiment in the file at `path`; `-` is standard input.
pub fn load(path: &Path) -> Result<Experiment, Box<ConfigError>> {
    let piped = path.as_os_str() == STANDARD_INPUT;
    let name = if piped { "standard input".to_owned() } else { path.display().to_string() };
    let text = if piped { read_from(io::stdin().lock()) } else { read(path) };
    let text = text.map_err(|e| ConfigError::unreadable(&name, "the experiment file", &e))?;
    let stem = path.file_stem().filter(|_| !piped);
    let stem = stem.map_or_else(|| "experiment".into(), |s| s.to_string_lossy().into_owned());
    // It becomes a label, like a name that was written.
    let usable = |c: char| if is_name_character(c) { c } else { '-' };
    parse(&name, &text, &stem.chars().map(usable).take(63).collect::<String>())
}

/// No file is longer than this, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

pub(crate) fn read(path: &Path) -> io::Result<String> {
    read_from(File::open(path)?)
}

fn read_from(source: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other("it is longer than 1 MiB, which no such file is"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not a text in UTF-8"))
}

/// Checks the experiment in `text`. `origin` is what errors call the place, `fallback_name` names an experiment that
/// has no `name`.
pub fn parse(origin: &str, text: &str, fallback_name: &str) -> Result<Experiment, Box<ConfigError>> {
    Experiment::parse(origin, text, fallback_name)
        .map_err(|problem| Box::new(problem.in_source(origin, text)))
}

#[cfg(test)]
mod tests;
