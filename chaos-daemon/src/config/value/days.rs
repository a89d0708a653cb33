//! The days of a window: `Tue..Thu`, `Mon,Fri`, `daily`, `2026-12-01`, `2026-12-01..2026-12-05`.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use jiff::civil::{Date, Weekday};

use super::Invalid;

const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const FULL_NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const EVERY_DAY: u8 = 0b111_1111;

/// Dates may lie in these years: what is outside is a slip of the pen, and near the ends of the calendar sums overflow.
const YEARS: RangeInclusive<i16> = 2000..=2999;

const HELP: &str = "write Mon, Mon,Wed, Mon..Fri, daily, 2026-12-01 or 2026-12-01..2026-12-05";

/// On which days a window begins. Never none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    /// Days of the week: bit 0 is Monday, bit 6 is Sunday.
    OfWeek(u8),
    /// From the first date to the second, both included.
    Dates(Date, Date),
}

impl Days {
    /// All of them.
    pub const DAILY: Self = Self::OfWeek(EVERY_DAY);

    /// Whether this date is one of them.
    pub fn contain(self, date: Date) -> bool {
        match self {
            Self::OfWeek(days) => days & (1 << number(date.weekday())) != 0,
            Self::Dates(first, last) => (first..=last).contains(&date),
        }
    }
}

/// 0 for Monday to 6 for Sunday.
fn number(day: Weekday) -> usize {
    usize::from(day.to_monday_zero_offset().unsigned_abs())
}

impl FromStr for Days {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.eq_ignore_ascii_case("daily") {
            return Ok(Self::DAILY);
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return dates(text);
        }
        let mut days = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            let (first, last) = (day(first, text)?, day(last, text)?);
            // Fri..Mon goes over the weekend.
            let length = (last + 7 - first) % 7;
            days |= (0..=length).map(|n| 1 << ((first + n) % 7)).sum::<u8>();
        }
        Ok(Self::OfWeek(days))
    }
}

/// The number of a day of the week, 0 for Monday, by its name or the first three letters of it.
fn day(name: &str, whole: &str) -> Result<usize, Invalid> {
    let name = name.to_ascii_lowercase();
    let found = FULL_NAMES.iter().position(|full| name == *full || name == full[..3]);
    found.ok_or_else(|| {
        let message = format!("\"{whole}\" names no days");
        match whole.split_once('-') {
            Some((first, last)) if day(first, first).is_ok() && day(last, last).is_ok() => {
                Invalid::new(message, format!("write {first}..{last}: a range has two points"))
            }
            _ => Invalid::new(message, HELP),
        }
    })
}

fn dates(text: &str) -> Result<Days, Invalid> {
    if text.contains(',') {
        return Err(Invalid::new(
            format!("\"{text}\" is a list of dates"),
            "write each date, or range of dates, as a window of its own",
        ));
    }
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (date(first)?, date(last)?);
    if last < first {
        return Err(Invalid::new(
            format!("the dates {text} end before they begin"),
            format!("write {last}..{first}"),
        ));
    }
    Ok(Days::Dates(first, last))
}

fn date(text: &str) -> Result<Date, Invalid> {
    let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let date = text.parse::<Date>().ok().filter(|_| digits && text.len() == "2026-12-01".len());
    let Some(date) = date else {
        return Err(Invalid::new(
            format!("there is no date {text}"),
            "write year, month and day: 2026-12-01",
        ));
    };
    if !YEARS.contains(&date.year()) {
        return Err(Invalid::new(
            format!("the date {text} is out of range"),
            format!("a date lies in the years {} to {}", YEARS.start(), YEARS.end()),
        ));
    }
    Ok(date)
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::DAILY => f.write_str("daily"),
            Self::Dates(first, last) if first == last => write!(f, "{first}"),
            Self::Dates(first, last) => write!(f, "{first}..{last}"),
            Self::OfWeek(days) => f.write_str(&names(days)),
        }
    }
}

/// Days of the week as they are written; three in a row and more become a range.
fn names(days: u8) -> String {
    let mut parts = Vec::new();
    let mut day = 0;
    while day < NAMES.len() {
        let run = (day..NAMES.len()).take_while(|n| days & (1 << n) != 0).count();
        match run {
            0 => day += 1,
            1 | 2 => parts.extend(NAMES[day..day + run].iter().map(|name| (*name).to_owned())),
            _ => parts.push(format!("{}..{}", NAMES[day], NAMES[day + run - 1])),
        }
        day += run;
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_and_shows_it() {
        for (text, shown) in [
            ("daily", "daily"),
            ("Mon", "Mon"),
            ("MONDAY,wed", "Mon,Wed"),
            ("mon..Fri", "Mon..Fri"),
            ("Mon..Wed,Fri", "Mon..Wed,Fri"),
            ("Sat,Sun", "Sat,Sun"),
            ("Fri..Mon", "Mon,Fri..Sun"),
            ("Mon..Sunday", "daily"),
            ("Sun..Sun", "Sun"),
            ("2026-12-01", "2026-12-01"),
            ("2026-12-01..2026-12-05", "2026-12-01..2026-12-05"),
            ("2028-02-29", "2028-02-29"),
        ] {
            let days: Days = text.parse().unwrap();
            assert_eq!(shown, days.to_string(), "{text}");
            assert_eq!(Ok(days), shown.parse(), "{shown}");
        }
    }

    #[test]
    fn knows_its_days() {
        let days: Days = "Sat..Mon".parse().unwrap();
        let hit = (23..30).filter(|day| days.contain(jiff::civil::date(2026, 11, *day))).collect::<Vec<_>>();
        assert_eq!([23, 28, 29], hit[..]);
        let days: Days = "2026-11-24..2026-11-26".parse().unwrap();
        let hit = (20..30).filter(|day| days.contain(jiff::civil::date(2026, 11, *day))).collect::<Vec<_>>();
        assert_eq!([24, 25, 26], hit[..]);
    }

    #[test]
    fn refuses_everything_else_and_says_what_would_be_right() {
        for (text, message, help) in [
            ("Mon-Fri", "names no days", "Mon..Fri"),
            ("Mo", "names no days", "daily"),
            ("Mon,", "names no days", "daily"),
            ("Mon..", "names no days", "daily"),
            ("", "names no days", "daily"),
            ("2026-02-29", "no date 2026-02-29", "2026-12-01"),
            ("2026-12", "no date 2026-12", "2026-12-01"),
            ("2026-12-01T00", "no date", "2026-12-01"),
            ("1999-12-31", "out of range", "2000 to 2999"),
            ("2026-12-05..2026-12-01", "end before", "2026-12-01..2026-12-05"),
            ("2026-12-01,2026-12-03", "list of dates", "of its own"),
        ] {
            let wrong = text.parse::<Days>().unwrap_err();
            assert!(wrong.message.contains(message) && wrong.help.contains(help), "{text}: {wrong:?}");
        }
    }
}
