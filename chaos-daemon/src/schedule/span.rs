//! Windows as stretches of time that passes, whatever clocks show.
//!
//! All of it in whole seconds since 1970, so that sums cannot overflow. What must stay true: a second is in a stretch of
//! a window if and only if the clock of the window's zone shows a time in the window then. The clock runs evenly between
//! two changes of its offset from UTC, so each such part is looked at by itself: what a change skips is in none of them,
//! and what it shows twice is in two.

use jiff::{Timestamp, ToSpan, civil::DateTime, tz::Offset, tz::TimeZone};

use crate::config::value::Window;

/// Seconds since 1970.
pub type Second = i64;

/// No clock is further from UTC than this, to either side (jiff has a limit of 25:59:59).
const FARTHEST: Second = 26 * 3600;

/// From a second up to another one that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    pub from: Second,
    pub to: Second,
}

impl Stretch {
    /// What both have in common.
    fn and(self, other: Self) -> Option<Self> {
        let (from, to) = (self.from.max(other.from), self.to.min(other.to));
        (from < to).then_some(Self { from, to })
    }
}

/// The stretches of `within` in which at least one of the windows is open, in order, none touching the next.
pub fn open(windows: &[Window], within: Stretch) -> Vec<Stretch> {
    let mut all = Vec::new();
    for window in windows {
        let rules = window.zone().rules();
        // A day more on either side: a window reaches into the next day, and two days where a clock is set forward.
        let mut day = civil(rules, within.from).date().saturating_sub(3.days());
        let last = civil(rules, within.to).date();
        while day <= last {
            if let Some((from, to)) = window.on(day) {
                between(rules, from, to, |stretch| all.extend(stretch.and(within)));
            }
            match day.tomorrow() {
                Ok(next) => day = next,
                Err(_end_of_calendar) => break,
            }
        }
    }
    joined(all)
}

/// What is in `these` and in none of the others. Both in order, none touching the next.
pub fn without(these: Vec<Stretch>, others: &[Stretch]) -> Vec<Stretch> {
    let mut left = Vec::new();
    for whole in these {
        let mut rest = whole;
        for other in others.iter().filter(|other| other.and(whole).is_some()) {
            left.extend(rest.and(Stretch { from: rest.from, to: other.from }));
            rest.from = other.to;
        }
        left.extend(rest.and(rest));
    }
    left
}

/// In order, and those that touch or overlap made one.
fn joined(mut all: Vec<Stretch>) -> Vec<Stretch> {
    all.sort_unstable();
    let mut joined: Vec<Stretch> = Vec::new();
    for next in all {
        match joined.last_mut() {
            Some(last) if next.from <= last.to => last.to = last.to.max(next.to),
            _ => joined.push(next),
        }
    }
    joined
}

/// Says when the clock of a zone shows a time from `from` to before `to`: once for each offset it has meanwhile.
fn between(rules: &TimeZone, from: DateTime, to: DateTime, mut say: impl FnMut(Stretch)) {
    let (Ok(from), Ok(to)) = (Offset::UTC.to_timestamp(from), Offset::UTC.to_timestamp(to)) else { return };
    let (from, to) = (from.as_second(), to.as_second());
    let end = to + FARTHEST;
    let mut part = from - FARTHEST;
    while part < end {
        let offset = Second::from(rules.to_offset(timestamp(part)).seconds());
        let change =
            rules.following(timestamp(part)).next().map_or(end, |change| change.timestamp().as_second());
        let shown = Stretch { from: from - offset, to: to - offset };
        if let Some(stretch) = shown.and(Stretch { from: part, to: change.min(end) }) {
            say(stretch);
        }
        part = change.max(part + 1);
    }
}

/// What the clock of a zone shows.
fn civil(rules: &TimeZone, second: Second) -> DateTime {
    rules.to_datetime(timestamp(second))
}

/// The nearest that the calendar has.
pub fn timestamp(second: Second) -> Timestamp {
    let end = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(second).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(text: &str) -> Second {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    /// When it is open within these two, in UTC.
    fn opens(window: &str, from: &str, to: &str) -> Vec<String> {
        let within = Stretch { from: second(from), to: second(to) };
        let stretches = open(&[window.parse().unwrap()], within);
        let shown = |at: Second| timestamp(at).to_string()[5..16].replace('T', " ");
        stretches.iter().map(|s| format!("{} to {}", shown(s.from), shown(s.to))).collect()
    }

    const SPRING: [&str; 2] = ["2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"];
    const AUTUMN: [&str; 2] = ["2026-10-24T20:00:00Z", "2026-10-25T12:00:00Z"];

    #[test]
    fn what_the_clock_skips_is_not_there() {
        let berlin = |window: &str| opens(&format!("{window} Europe/Berlin"), SPRING[0], SPRING[1]);
        // 02:00 to 03:00 does not exist; 03:00 is 01:00 UTC.
        assert_eq!(["03-29 01:00 to 03-29 02:00"], berlin("02:30-04:00")[..], "begins when the gap ends");
        assert_eq!(["03-29 00:30 to 03-29 01:00"], berlin("01:30-02:30")[..], "ends when the gap begins");
        assert_eq!(["03-29 00:00 to 03-29 02:00"], berlin("01:00-04:00")[..], "an hour shorter");
        assert!(berlin("02:00-03:00").is_empty() && berlin("02:10-02:50").is_empty());
        let york = opens("02:30-04:00 America/New_York", "2026-03-08T00:00:00Z", "2026-03-08T20:00:00Z");
        assert_eq!(["03-08 07:00 to 03-08 08:00"], york[..]);
    }

    #[test]
    fn what_the_clock_shows_twice_counts_twice() {
        let berlin = |window: &str| opens(&format!("{window} Europe/Berlin"), AUTUMN[0], AUTUMN[1]);
        // 02:00 to 03:00 is there from 00:00 to 01:00 UTC, and once more up to 02:00 UTC.
        assert_eq!(["10-25 00:00 to 10-25 02:00"], berlin("02:00-03:00")[..]);
        assert_eq!(["10-24 23:00 to 10-25 03:00"], berlin("01:00-04:00")[..], "an hour longer");
        let twice = ["10-25 00:15 to 10-25 00:45", "10-25 01:15 to 10-25 01:45"];
        assert_eq!(twice, berlin("02:15-02:45")[..]);
        let york = opens("01:15-01:45 America/New_York", "2026-11-01T00:00:00Z", "2026-11-01T20:00:00Z");
        assert_eq!(["11-01 05:15 to 11-01 05:45", "11-01 06:15 to 11-01 06:45"], york[..]);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let (from, to) = ("2026-11-22T00:00:00Z", "2026-11-25T00:00:00Z");
        assert_eq!(["11-22 16:00 to 11-22 17:00"], opens("Mon 05:00-06:00 Pacific/Auckland", from, to)[..]);
        assert_eq!(["11-24 08:00 to 11-24 10:00"], opens("Mon 22:00-24:00 Pacific/Honolulu", from, to)[..]);
        assert_eq!(["11-23 22:00 to 11-24 02:00"], opens("Mon 22:00-02:00 UTC", from, to)[..]);
        assert_eq!(["11-22 00:00 to 11-25 00:00"], opens("00:00-24:00 UTC", from, to)[..], "days touch");
    }

    #[test]
    fn takes_out_the_middle_and_the_ends() {
        let s = |from, to| Stretch { from, to };
        let left = without(vec![s(0, 10), s(20, 30), s(40, 50)], &[s(-5, 2), s(4, 6), s(9, 21), s(38, 60)]);
        assert_eq!(vec![s(2, 4), s(6, 9), s(21, 30)], left);
        assert_eq!(vec![s(0, 10)], without(vec![s(0, 10)], &[s(-3, 0), s(10, 12)]));
    }

    #[test]
    fn the_ends_of_the_calendar_are_no_trouble() {
        for at in [Second::MIN / 2, Timestamp::MIN.as_second(), Timestamp::MAX.as_second(), Second::MAX / 2] {
            let windows = ["00:00-24:00 UTC".parse().unwrap()];
            let _anything = open(&windows, Stretch { from: at, to: at + 86400 });
        }
    }
}
