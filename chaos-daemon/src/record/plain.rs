//! Text of others, and numbers, as they stand in a record.
//!
//! Names, notes and files come from people and from services under test. What must stay true: nothing of them reaches
//! a page as a character that is obeyed instead of shown, and that includes those that turn the order of letters
//! around.

use crate::printable::printable;

/// The text with its control characters and those that steer the direction of writing written out.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in printable(text).chars() {
        if steers(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// Text of several lines, likewise; lines and tabs stay.
pub fn plain_lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\t').map(plain).collect::<Vec<_>>().join("\t")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Unicode's marks, embeddings, overrides and isolates of direction, its separators of lines and paragraphs, and what
/// has no width at all.
const fn steers(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// At most so many characters.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A value of a probe with its unit: shares as percent, times below a second in milliseconds.
pub fn measured(value: f64, unit: &str) -> String {
    match unit {
        "%" => format!("{} %", number(value * 100.0)),
        "s" if value.abs() < 1.0 && value != 0.0 => format!("{} ms", number(value * 1000.0)),
        "" => number(value),
        unit => format!("{} {}", number(value), plain(unit)),
    }
}

/// Three significant digits, which is what a measurement can carry; whole numbers whole.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    if size != 0.0 && !(0.001..1e9).contains(&size) {
        return format!("{value:.2e}");
    }
    let text = match size {
        s if s >= 100.0 || s == 0.0 => format!("{value:.0}"),
        s if s >= 10.0 => format!("{value:.1}"),
        s if s >= 1.0 => format!("{value:.2}"),
        s if s >= 0.1 => format!("{value:.3}"),
        s if s >= 0.01 => format!("{value:.4}"),
        _ => format!("{value:.5}"),
    };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A whole number with its thousands apart: 1 234 567.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            // A space that no line is broken at.
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text
}

/// A length of time: `350 ms`, `12.3 s`, `2 min 5 s`, `1 h 30 min`.
pub fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    // Tenths decide what is a minute, so that 59.97 s does not become "60 s".
    let tenths = (seconds.abs() * 10.0).round() / 10.0;
    let sign = if seconds < 0.0 && tenths > 0.0 { "−" } else { "" };
    let text = match tenths {
        s if s >= 3600.0 => two((s / 60.0).round(), 60.0, "h", "min"),
        s if s >= 120.0 => two(s.round(), 60.0, "min", "s"),
        s if s >= 1.0 || s == 0.0 => format!("{} s", number(s)),
        _ => format!("{} ms", number((seconds.abs() * 1000.0).round())),
    };
    format!("{sign}{text}")
}

fn two(small: f64, per: f64, large_unit: &str, small_unit: &str) -> String {
    match (small / per).floor() {
        large if small % per == 0.0 => format!("{large} {large_unit}"),
        large => format!("{large} {large_unit} {} {small_unit}", small % per),
    }
}

/// A moment on the axis of a run: `+12.3 s`, `−5 s`.
pub fn moment(at: f64) -> String {
    let text = seconds(at);
    if at >= 0.0 && at.is_finite() { format!("+{text}") } else { text }
}

/// A time of day as people read it: `2026-11-23 01:30:00 UTC`. What is no such time stays as it is.
pub fn time_of_day(rfc3339: &str) -> String {
    match rfc3339.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => plain(rfc3339),
    }
}

#[cfg(test)]
mod tests {
    use super::{count, measured, moment, number, plain, plain_lines, seconds, shortened, time_of_day};

    #[test]
    fn what_steers_is_written_out_and_letters_of_every_script_stay() {
        assert_eq!("a\\u{202e}b\\u{2066}\\u{200b}\\u{1b}", plain("a\u{202e}b\u{2066}\u{200b}\u{1b}"));
        for stays in ["größer", "שלום", "مرحبا", "日本", "<script>", "a|b`c`"] {
            assert_eq!(stays, plain(stays));
        }
        assert_eq!("a\n\tb\\u{0}\nc", plain_lines("a\r\n\tb\0\nc"));
        assert_eq!(("abc".to_owned(), "ab…".to_owned()), (shortened("abc", 3), shortened("abc", 2)));
    }

    #[test]
    fn numbers_carry_what_was_measured() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0001, "-1.00e-4"),
            (0.05, "0.05"),
            (1.0, "1"),
            (1.2345, "1.23"),
            (99.96, "100"),
            (180.0, "180"),
            (12_345_678.0, "12345678"),
            (1.5e12, "1.50e12"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(text, number(value), "{value}");
        }
        assert_eq!("0.05 %", measured(0.0005, "%"));
        assert_eq!("180 ms", measured(0.18, "s"));
        assert_eq!("1.2 s", measured(1.2, "s"));
        assert_eq!("7 rows", measured(7.0, "rows"));
        assert_eq!("1\u{a0}234\u{a0}567", count(1_234_567));
        assert_eq!("123", count(123));
    }

    #[test]
    fn times_are_as_people_say_them() {
        for (value, text) in [
            (0.0, "+0 s"),
            (0.35, "+350 ms"),
            (12.34, "+12.3 s"),
            (-5.0, "−5 s"),
            (119.97, "+2 min"),
            (125.0, "+2 min 5 s"),
            (5400.0, "+1 h 30 min"),
        ] {
            assert_eq!(text, moment(value), "{value}");
        }
        assert_eq!("unknown", seconds(f64::INFINITY));
        assert_eq!("2026-11-23 01:30:00 UTC", time_of_day("2026-11-23T01:30:00.123Z"));
        assert_eq!("never", time_of_day("never"));
    }
}
