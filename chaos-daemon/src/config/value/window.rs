//! Windows of time: `Tue..Thu 10:00-12:00 Europe/Berlin`, `22:00-02:00`, `2026-12-01 09:00-17:00 UTC`.
//!
//! A window is a statement about the clock on the wall in its zone: it is open whenever that clock, with its date,
//! shows a time from its begin up to its end. So a change of summer time needs no rule of its own: what the clock skips
//! is not there, and what it shows twice counts twice.

use std::{fmt, str::FromStr};

use jiff::civil::{Date, DateTime, Time};

use super::{Days, Invalid, Zone, deserialize_from_text};

/// Minutes of a day on which the clock is not changed.
const DAY: u16 = 24 * 60;

const HELP: &str = "write the days, the times and the zone: \"Tue..Thu 10:00-12:00 Europe/Berlin\", \
                    \"22:00-02:00\", \"2026-12-01 09:00-17:00 UTC\"";

/// A window of time, on one or more days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    days: Days,
    /// In minutes from midnight, less than a day.
    begin: u16,
    /// In minutes from the same midnight: more than `begin`, by a day at most. More than a day: on the next day.
    end: u16,
    zone: Zone,
}

deserialize_from_text!(Window, "a window of time such as \"Tue..Thu 10:00-12:00 Europe/Berlin\"");

impl Window {
    /// The days on which it begins.
    pub const fn days(&self) -> Days {
        self.days
    }

    /// Where its clock hangs.
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// From when to when it is open by its clock, if it begins on `date`; the end is the first moment that is not in
    /// it. `None` also for the last days of the calendar, in the year 9999.
    pub fn on(&self, date: Date) -> Option<(DateTime, DateTime)> {
        if !self.days.contain(date) {
            return None;
        }
        let after = |minutes: u16| {
            let day = if minutes < DAY { date } else { date.tomorrow().ok()? };
            let minutes = i8::try_from(minutes % DAY / 60).ok().zip(i8::try_from(minutes % 60).ok());
            minutes
                .and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok())
                .map(|time| day.to_datetime(time))
        };
        after(self.begin).zip(after(self.end))
    }
}

impl FromStr for Window {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_times = |word: &&str| word.contains(':') && word.starts_with(|c: char| c.is_ascii_digit());
        let wrong = |what: &str| Invalid::new(format!("\"{text}\" is not a window of time: {what}"), HELP);
        let Some(place) = words.iter().position(is_times) else {
            return Err(wrong("it has no times"));
        };
        let days = match words[..place] {
            [] => Days::DAILY,
            [days] => days.parse()?,
            _ => return Err(wrong("the days are one word, without spaces")),
        };
        let (begin, end) = times(words[place])?;
        let zone = match words[place + 1..] {
            [] => Zone::of_host()?,
            [zone] => zone.parse()?,
            _ => return Err(wrong("behind the times stands nothing but a zone")),
        };
        Ok(Self { days, begin, end, zone })
    }
}

/// Begin and end in minutes from the midnight before the begin.
fn times(text: &str) -> Result<(u16, u16), Invalid> {
    let Some((begin, end)) = text.split_once('-') else {
        return Err(Invalid::new(
            format!("\"{text}\" is one time and no window"),
            "write the first and the last time, without spaces: 10:00-12:00",
        ));
    };
    let (begin, end) = (time(begin)?, time(end)?);
    if begin == DAY {
        return Err(Invalid::new("a window cannot begin at 24:00", "write 00:00, on the next day"));
    }
    if begin == end {
        return Err(Invalid::new(
            format!("the window {text} is empty"),
            "write 00:00-24:00 for the whole day",
        ));
    }
    Ok((begin, if end < begin { end + DAY } else { end }))
}

/// A time of day in minutes; 24:00 is one.
fn time(text: &str) -> Result<u16, Invalid> {
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| two)
    };
    text.split_once(':')
        .and_then(|(hours, minutes)| Some((number(hours)?, number(minutes)?)))
        .filter(|(hours, minutes)| *minutes < 60 && hours * 60 + minutes <= DAY)
        .map(|(hours, minutes)| hours * 60 + minutes)
        .ok_or_else(|| {
            Invalid::new(
                format!("\"{text}\" is not a time of day"),
                "write hours and minutes with two digits each, 00:00 to 24:00: 09:30",
            )
        })
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { days, begin, end, zone } = self;
        let end = if *end > DAY { end - DAY } else { *end };
        write!(f, "{days} {:02}:{:02}-{:02}:{:02} {zone}", begin / 60, begin % 60, end / 60, end % 60)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn reads_every_form_and_shows_it_in_full() {
        let host = Zone::of_host().unwrap();
        for (text, shown) in [
            ("Tue..Thu 10:00-12:00 Europe/Berlin", "Tue..Thu 10:00-12:00 Europe/Berlin"),
            ("22:00-02:00 utc", "daily 22:00-02:00 UTC"),
            (" Mon,Wed   00:00-24:00  UTC ", "Mon,Wed 00:00-24:00 UTC"),
            ("22:00-00:00 UTC", "daily 22:00-24:00 UTC"),
            ("2026-12-01 09:00-17:00 UTC", "2026-12-01 09:00-17:00 UTC"),
            ("daily 09:00-17:00", &format!("daily 09:00-17:00 {host}")),
            ("09:00-17:00", &format!("daily 09:00-17:00 {host}")),
        ] {
            let window: Window = text.parse().unwrap();
            assert_eq!(shown, window.to_string(), "{text}");
            assert_eq!(Ok(window), shown.parse(), "{shown}");
        }
    }

    #[test]
    fn belongs_to_the_day_it_begins_on() {
        let (monday, tuesday) = (date(2026, 11, 23), date(2026, 11, 24));
        let window: Window = "Mon 22:00-02:00 UTC".parse().unwrap();
        assert_eq!(Some((monday.at(22, 0, 0, 0), tuesday.at(2, 0, 0, 0))), window.on(monday));
        assert_eq!(None, window.on(tuesday));
        let window: Window = "Mon 09:30-24:00 UTC".parse().unwrap();
        assert_eq!(Some((monday.at(9, 30, 0, 0), tuesday.at(0, 0, 0, 0))), window.on(monday));
        assert_eq!(None, "22:00-02:00 UTC".parse::<Window>().unwrap().on(Date::MAX), "the calendar ends");
    }

    #[test]
    fn refuses_everything_else_and_says_what_would_be_right() {
        for (text, message, help) in [
            ("", "has no times", "Tue..Thu 10:00-12:00"),
            ("Tue", "has no times", "Tue..Thu 10:00-12:00"),
            ("Mon, Tue 10:00-12:00", "one word", "Tue..Thu"),
            ("10:00-12:00 Europe/Berlin UTC", "nothing but a zone", "Tue..Thu"),
            ("10:00", "one time", "10:00-12:00"),
            ("10:00 - 12:00 UTC", "one time", "without spaces"),
            ("10:00-25:00", "\"25:00\" is not a time", "24:00"),
            ("10:00-24:01", "\"24:01\" is not a time", "24:00"),
            ("10:60-12:00", "\"10:60\" is not a time", "09:30"),
            ("9:00-12:00", "\"9:00\" is not a time", "09:30"),
            ("10:00:00-12:00", "is not a time", "09:30"),
            ("10:00-12", "\"12\" is not a time", "09:30"),
            ("10:00-10:00", "is empty", "00:00-24:00"),
            ("24:00-02:00", "begin at 24:00", "00:00"),
            ("Tues 10:00-12:00 UTC", "names no days", "Mon..Fri"),
            ("Mon-Fri 10:00-12:00 UTC", "names no days", "Mon..Fri"),
            ("10:00-12:00 Europe/Berlni", "no time zone", "Europe/Berlin"),
        ] {
            let wrong = text.parse::<Window>().unwrap_err();
            assert!(wrong.message.contains(message) && wrong.help.contains(help), "{text}: {wrong:?}");
        }
    }
}
