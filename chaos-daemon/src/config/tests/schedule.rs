//! When an experiment may run.

use super::*;

const LINE: &str = r#"duration = "60s""#;

/// The good file with these lines more is refused.
fn refused_with(lines: &str, message: &str, underlined: &str, help: &str) {
    refused(LINE, &format!("{LINE}\n{lines}"), message, underlined, help);
}

fn accepted(lines: &str) -> super::super::Experiment {
    let text = GOOD.replacen(LINE, &format!("{LINE}\n{lines}"), 1);
    parse("x.toml", &text, "x").unwrap_or_else(|error| panic!("{lines}: {error}"))
}

#[test]
fn reads_windows_and_repetition() {
    let text = "windows = [\"Tue..Thu 10:00-12:00 Europe/Berlin\", \"2026-12-01 09:00-17:00 UTC\"]\n\
                every = \"1d\"\ncool_down = \"10m\"";
    let shown =
        "Tue..Thu 10:00-12:00 Europe/Berlin, 2026-12-01 09:00-17:00 UTC, every 1day, 10m apart at least";
    assert_eq!(shown, accepted(text).schedule.to_string());
    assert_eq!("daily 22:00-02:00 UTC, once", accepted("windows = \"22:00-02:00 UTC\"").schedule.to_string());
    assert_eq!("at any time, once", accepted("").schedule.to_string());
    accepted("every = \"1m\"\ncool_down = \"4w\"");
}

#[test]
fn refuses_windows_at_their_place() {
    refused_with("windows = []", "empty list", "[]", "leave `windows` out");
    refused_with("windows = \"10:00\"", "one time", "\"10:00\"", "10:00-12:00");
    refused_with(
        "windows = [\"00:00-24:00 UTC\", \"Mon-Fri 10:00-12:00 UTC\"]",
        "no days",
        "\"Mon-Fri",
        "Mon..Fri",
    );
    refused_with("windows = \"10:00-12:00 Berlin\"", "no time zone", "\"10:00", "Europe/Berlin");
    refused_with("windows = 10", "no times", "10", "Tue..Thu");
    let many = vec!["\"00:00-24:00 UTC\""; 33].join(", ");
    refused_with(
        &format!("windows = [{many}]"),
        "more than 32 windows",
        "\"00:00-24:00 UTC\"]",
        "can be ranges",
    );
    refused_with("window = \"10:00-12:00\"", "unknown field `window`", "window", "`windows`");
}

#[test]
fn refuses_windows_that_are_too_short_for_the_time_box() {
    let short = "windows = \"10:00-10:20 UTC\"";
    let by = format!("duration = \"30m\"\n{short}");
    refused(LINE, &by, "no window is long enough", "\"10:00-10:20 UTC\"", "30m");
    accepted("windows = \"10:00-10:01 UTC\"");
    let text = GOOD.replace(LINE, "duration = \"30m\"\nwindows = [\"10:00-10:20 UTC\", \"10:20-10:30 UTC\"]");
    assert!(parse("x.toml", &text, "x").is_ok(), "windows that touch are one");
}

#[test]
fn refuses_repetitions_that_cannot_be() {
    for every in ["59s", "5w", "0s"] {
        refused_with(&format!("every = \"{every}\""), "`every` is out of range", "\"", "1m to 4w");
    }
    let by = "duration = \"30m\"\nevery = \"20m\"";
    refused(LINE, by, "shorter than the time box", "\"20m\"", "30m");
    refused_with("cool_down = \"10m\"", "without `every`", "\"10m\"", "every = ");
    refused_with("every = \"1d\"\ncool_down = \"29d\"", "too long", "\"29d\"", "4w");
    refused_with("every = \"1M\"", "minutes or months", "\"1M\"", "\"1m\"");
}

#[test]
fn the_foreground_neither_waits_nor_repeats() {
    let start = |lines: &str, now: &str| accepted(lines).may_start_in_foreground(now.parse().unwrap());
    let windows = "windows = \"Tue..Thu 10:00-12:00 Europe/Berlin\"";
    assert!(start("", "2026-11-24T05:48:00Z").is_ok());
    assert!(start(windows, "2026-11-24T09:30:00Z").is_ok());
    let early = start(windows, "2026-11-24T05:48:00Z").unwrap_err();
    assert_eq!(
        "the experiment may not start now: the next window opens in 3 h 12 min (Tue 2026-11-24 10:00 Europe/Berlin)",
        early.message()
    );
    assert_eq!((5, 11), early.place());
    let late = start("windows = \"2026-12-01 09:00-17:00 UTC\"", "2027-01-01T00:00:00Z").unwrap_err();
    assert!(late.message().contains("not start any more: its windows are over"), "{}", late.message());
    let repeated = start("every = \"1d\"\ncool_down = \"1m\"", "2026-11-24T09:30:00Z").unwrap_err();
    assert_eq!(("only the daemon repeats", (5, 9)), (repeated.message(), repeated.place()));
}
