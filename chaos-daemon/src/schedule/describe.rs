//! A schedule and its next start in words.

use std::fmt::{self, Write};

use jiff::Timestamp;

use super::{Next, Schedule, span};
use crate::config::value::{Span, Window, Zone};

impl Schedule {
    /// The next start in words, for a status that is asked for at `now`: `now`, `in 3 h 12 min (Tue 2026-11-24 10:00
    /// Europe/Berlin)` or `never: its windows are over (...)`.
    pub fn describe(&self, next: &Next, now: Timestamp) -> String {
        match next {
            Next::Now => "now".to_owned(),
            Next::At(at) => format!("in {} ({})", length(now, *at), self.on_the_wall(*at)),
            Next::Never { why } => format!("never: {why}"),
        }
    }

    /// A moment as the clock shows it in the zone of the window that is open then; else of the first window; else of
    /// the host.
    pub fn on_the_wall(&self, at: Timestamp) -> String {
        let moment = span::Stretch { from: at.as_second(), to: at.as_second() + 1 };
        let is_open = |window: &&Window| !span::open(std::slice::from_ref(*window), moment).is_empty();
        let window = self.windows.iter().find(is_open).or(self.windows.first());
        let zone =
            window.map_or_else(|| Zone::of_host().unwrap_or(Zone::UTC), |window| window.zone().clone());
        let shown = at.to_zoned(zone.rules().clone());
        let second = if shown.second() == 0 { "" } else { ":%S" };
        // A host's zone without a name is told by its distance from UTC.
        let place = zone.rules().iana_name().unwrap_or("%:z");
        shown.strftime(&format!("%a %Y-%m-%d %H:%M{second} {place}")).to_string()
    }
}

/// As in the file, without the names of the fields: `Tue..Thu 10:00-12:00 Europe/Berlin, every 1day`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { windows, every, cool_down } = self;
        f.write_str(if windows.is_empty() { "at any time" } else { "" })?;
        f.write_str(&list(windows))?;
        match every {
            Some(every) => write!(f, ", every {}", Span(*every))?,
            None => f.write_str(", once")?,
        }
        if !cool_down.is_zero() {
            write!(f, ", {} apart at least", Span(*cool_down))?;
        }
        Ok(())
    }
}

/// Windows as they are written, in full.
pub fn list(windows: &[Window]) -> String {
    let mut all = String::new();
    for (number, window) in windows.iter().enumerate() {
        // Writing to a String cannot fail.
        let _infallible = write!(all, "{}{window}", if number == 0 { "" } else { ", " });
    }
    all
}

/// The time between, to the two largest units, never less than a second.
fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.as_second().saturating_sub(from.as_second()).max(1);
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    let units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")];
    let largest = units.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = units[largest..].iter().take(2).filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}
