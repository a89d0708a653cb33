//! The first moment from which a run fits.

use std::time::Duration;

use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::Offset,
};

use super::span::{Second, Stretch, open, without};
use crate::config::value::{Days, Window};

const DAY: Second = 24 * 3600;

/// How much of the future is looked at in one go.
const AT_ONCE: Second = 8 * DAY;

/// How often it is looked, a bit more than two years all in all. Years without any window are skipped and not counted.
const LOOKS: usize = 100;

/// A Monday in a week in which clocks are changed hardly anywhere: 2024-01-01.
const SOME_MONDAY: Second = 19_723 * DAY;

/// The first second, not before `from`, from which a window is open at every moment of `duration`, and none of those in
/// which nothing may run. No windows are open at all times. `None`: not within two years.
pub fn first(windows: &[Window], forbidden: &[Window], from: Second, duration: Duration) -> Option<Second> {
    look(windows, forbidden, from, duration, LOOKS)
}

/// Whether a run of this length fits into the windows at all, in a week in which the clock is not changed.
pub fn ever(windows: &[Window], duration: Duration) -> bool {
    let weeks = windows.iter().map(|window| match window.days() {
        Days::OfWeek(_) => SOME_MONDAY,
        Days::Dates(first, _) => midnight(first) - DAY,
    });
    windows.is_empty() || weeks.into_iter().any(|week| look(windows, &[], week, duration, 1).is_some())
}

fn look(
    windows: &[Window],
    forbidden: &[Window],
    mut from: Second,
    duration: Duration,
    looks: usize,
) -> Option<Second> {
    let length = seconds(duration);
    for _ in 0..looks {
        if !windows.is_empty() {
            from = windows.iter().filter_map(|window| resumes(window, from)).min()?;
        }
        let within = Stretch { from, to: from.saturating_add(AT_ONCE).saturating_add(length) };
        let allowed = if windows.is_empty() { vec![within] } else { open(windows, within) };
        let free = without(allowed, &open(forbidden, within));
        if let Some(fits) = free.iter().find(|free| free.to - free.from >= length) {
            return Some(fits.from);
        }
        from = from.saturating_add(AT_ONCE);
    }
    None
}

/// Whether none of the windows will be open any more.
pub fn are_over(windows: &[Window], from: Second) -> bool {
    let within = Stretch { from, to: from.saturating_add(AT_ONCE) };
    open(windows, within).is_empty() && windows.iter().all(|window| resumes(window, within.to).is_none())
}

/// Not before when the window may be open next; `None`: it is over for good.
fn resumes(window: &Window, from: Second) -> Option<Second> {
    // The dates of a zone are those of UTC give or take two days, and a window ends on the day after its last date.
    match window.days() {
        Days::OfWeek(_) => Some(from),
        Days::Dates(_, last) if midnight(last) + 4 * DAY < from => None,
        Days::Dates(first, _) => Some(from.max(midnight(first) - 2 * DAY)),
    }
}

/// When a date begins in UTC.
fn midnight(date: Date) -> Second {
    Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).map_or(0, Timestamp::as_second)
}

/// Whole seconds, rounded up.
pub fn seconds(duration: Duration) -> Second {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    Second::try_from(whole).unwrap_or(Second::MAX)
}
