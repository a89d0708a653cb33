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
mod matching;
mod problem;
mod section;
mod target;
mod too_wide;
pub mod value;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

pub use experiment::{Experiment, MAX_DURATION, Mode};
pub use line_room::LineRoom;
pub use matching::{FaultSpec, Packets, Pulse, Side};
pub use problem::{ConfigError, Problem};
pub use section::Section;
pub(crate) use target::has_wildcards;
pub use target::{Pods, Selector, TargetSpec};
pub(crate) use too_wide::{is_every_cgroup, unit_name, whole_host};

/// Reads and checks the experiment in the file at `path`.
pub fn load(path: &Path) -> Result<Experiment, Box<ConfigError>> {
    let name = path.display().to_string();
    let text = read(path).map_err(|e| ConfigError::unreadable(&name, &e))?;
    let stem = path.file_stem().map_or_else(|| "experiment".into(), |s| s.to_string_lossy().into_owned());
    // It becomes a label, like a name that was written.
    let usable = |c: char| if experiment::is_name_character(c) { c } else { '-' };
    parse(&name, &text, &stem.chars().map(usable).take(63).collect::<String>())
}

/// No experiment is longer than this.
const MAX_BYTES: u64 = 1 << 20;

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is longer than 1 MiB, which no experiment is"));
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
