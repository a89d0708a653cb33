//! When an experiment may run: windows in which it may, windows in which nothing may, how often, how long apart.
//!
//! Logic alone: nothing here sleeps or looks at a clock. The wall clock is for one thing, to decide when a run begins;
//! what runs ends by the kernel's own clock, whatever happens to the one on the wall. Hence there is nothing here that
//! ends a run because a window does.
//!
//! What must stay true: a run fits. From its start to its end (start and time box) a window is open at every moment, and
//! none of those in which nothing may run. Windows that touch or overlap are as one.
//!
//! Seconds are the finest grain: a start counts for the second it is in. A daemon that is woken some milliseconds late is
//! not too late for a window that is as long as the time box.

mod describe;
mod fit;
mod span;

use std::time::Duration;

use jiff::Timestamp;

use crate::config::value::Window;
use fit::seconds;
use span::{Second, timestamp};

/// When an experiment may run. The default is at any time, once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// When it may; none: at any time.
    pub windows: Vec<Window>,
    /// The least time from one start to the next; `None`: it runs once.
    pub every: Option<Duration>,
    /// The least time from the end of a run to the next start.
    pub cool_down: Duration,
}

/// A run that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// When it began, by the wall clock.
    pub started: Timestamp,
    /// When it ended, however it did.
    pub ended: Timestamp,
}

/// When it may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// Then, and not before.
    At(Timestamp),
    /// Not any more.
    Never {
        /// Because of this, as a sentence without its point.
        why: String,
    },
}

impl Schedule {
    /// When the next run may start, at `now` by the wall clock: the first moment from which a run of `duration` fits.
    ///
    /// `last` is the run before, if there was one. The next one is due `every` after its start, but not before
    /// `cool_down` after its end. If nothing can start then, it starts as soon as something can; runs that were missed
    /// are not made up for, and the one after is due `every` after the start that there was. `forbidden` are windows in
    /// which nothing may run on the host.
    ///
    /// A last run in the future (the wall clock was set back) counts as one of now.
    pub fn next_start(
        &self,
        now: Timestamp,
        duration: Duration,
        last: Option<Run>,
        forbidden: &[Window],
    ) -> Next {
        let now = now.as_second();
        let Some(due) = self.due(now, last) else {
            return Next::Never { why: "it has run, and has no `every`".to_owned() };
        };
        match fit::first(&self.windows, forbidden, now.max(due), duration) {
            Some(at) if at == now => Next::Now,
            Some(at) => Next::At(timestamp(at)),
            None => Next::Never { why: self.why_never(now.max(due), duration, forbidden) },
        }
    }

    /// The first moment at which a run is due, whether it fits or not.
    fn due(&self, now: Second, last: Option<Run>) -> Option<Second> {
        let Some(Run { started, ended }) = last else { return Some(now) };
        // A run that ends within a second has ended when the second has.
        let ended = ended.as_second() + Second::from(ended.subsec_nanosecond() > 0);
        let next = started.as_second().min(now).saturating_add(seconds(self.every?));
        Some(next.max(ended.min(now).saturating_add(seconds(self.cool_down))))
    }

    /// Whether a run of this length fits into the windows at all.
    pub fn has_room_for(&self, duration: Duration) -> bool {
        fit::ever(&self.windows, duration)
    }

    fn why_never(&self, from: Second, duration: Duration, forbidden: &[Window]) -> String {
        let windows = describe::list(&self.windows);
        if !self.windows.is_empty() && fit::are_over(&self.windows, from) {
            return format!("its windows are over ({windows})");
        }
        let length = humantime::format_duration(duration);
        let mut why = format!("no moment of the next two years leaves {length} for it");
        if !self.windows.is_empty() {
            why += &format!(" within its windows ({windows})");
        }
        if !forbidden.is_empty() {
            why += &format!(" outside those in which nothing may run here ({})", describe::list(forbidden));
        }
        why
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
