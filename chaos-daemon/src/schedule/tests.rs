//! When a run starts, by example.

use super::*;

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn windows(texts: &[&str]) -> Vec<Window> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn schedule(texts: &[&str]) -> Schedule {
    Schedule { windows: windows(texts), ..Schedule::default() }
}

fn run(started: &str, ended: &str) -> Run {
    Run { started: at(started), ended: at(ended) }
}

/// The next start of a run of so many minutes.
fn next(schedule: &Schedule, now: &str, minutes: u64, forbidden: &[&str]) -> Next {
    schedule.next_start(at(now), MINUTE * u32::try_from(minutes).unwrap(), None, &windows(forbidden))
}

fn then(text: &str) -> Next {
    Next::At(at(text))
}

#[test]
fn without_windows_it_runs_at_once() {
    assert_eq!(Next::Now, next(&Schedule::default(), "2026-11-24T03:04:05.678Z", 60, &[]));
}

#[test]
fn a_run_begins_and_ends_inside_a_window() {
    // 10:00 in Berlin in winter is 09:00 UTC; 2026-11-24 is a Tuesday.
    let s = schedule(&["Tue..Thu 10:00-12:00 Europe/Berlin"]);
    assert_eq!(then("2026-11-24T09:00:00Z"), next(&s, "2026-11-23T12:00:00Z", 60, &[]));
    assert_eq!(Next::Now, next(&s, "2026-11-24T09:30:00Z", 60, &[]));
    assert_eq!(Next::Now, next(&s, "2026-11-24T10:00:00Z", 60, &[]), "ends with the window");
    assert_eq!(then("2026-11-25T09:00:00Z"), next(&s, "2026-11-24T10:00:01Z", 60, &[]), "would end after it");
    assert_eq!(then("2026-12-01T09:00:00Z"), next(&s, "2026-11-26T11:00:00Z", 60, &[]), "over the weekend");
}

#[test]
fn who_is_woken_late_is_not_too_late() {
    let s = schedule(&["10:00-11:00 UTC"]);
    assert_eq!(Next::Now, next(&s, "2026-11-24T10:00:00.9Z", 60, &[]));
    assert_eq!(then("2026-11-25T10:00:00Z"), next(&s, "2026-11-24T10:00:01Z", 60, &[]));
}

#[test]
fn windows_that_touch_are_one() {
    let s = schedule(&["10:00-10:30 UTC", "10:30-11:00 UTC"]);
    assert_eq!(then("2026-11-24T10:00:00Z"), next(&s, "2026-11-24T00:00:00Z", 60, &[]));
    assert!(s.has_room_for(MINUTE * 60) && !s.has_room_for(MINUTE * 61));
    let night = schedule(&["Mon 23:00-24:00 UTC", "Tue 00:00-00:30 UTC"]);
    assert!(night.has_room_for(MINUTE * 90) && !night.has_room_for(MINUTE * 91));
    assert_eq!(then("2026-11-23T23:00:00Z"), next(&night, "2026-11-22T00:00:00Z", 60, &[]));
    assert!(schedule(&["Sun 23:00-01:00 Pacific/Auckland"]).has_room_for(MINUTE * 120));
    assert!(schedule(&["2031-05-01..2031-05-02 23:00-00:30 UTC"]).has_room_for(MINUTE * 90));
}

#[test]
fn nothing_runs_into_a_forbidden_window() {
    let s = Schedule::default();
    let forbidden = ["Mon..Fri 09:00-17:00 UTC", "2026-12-20..2027-01-06 00:00-24:00 UTC"];
    assert_eq!(Next::Now, next(&s, "2026-11-24T08:00:00Z", 60, &forbidden), "ends as it begins");
    assert_eq!(then("2026-11-24T17:00:00Z"), next(&s, "2026-11-24T08:00:01Z", 60, &forbidden));
    assert_eq!(then("2027-01-07T00:00:00Z"), next(&s, "2026-12-19T23:30:00Z", 60, &forbidden));
    let s = schedule(&["08:30-09:30 UTC", "16:30-17:30 UTC"]);
    assert_eq!(
        then("2026-11-24T17:00:00Z"),
        next(&s, "2026-11-24T06:00:00Z", 30, &["09:00-17:00 UTC", "08:31-08:32 UTC"])
    );
}

#[test]
fn dates_far_away_are_found_and_those_gone_are_not() {
    let s = schedule(&["2026-12-01 09:00-17:00 UTC", "2099-12-31 22:00-02:00 Pacific/Auckland"]);
    assert_eq!(then("2026-12-01T09:00:00Z"), next(&s, "2026-11-24T00:00:00Z", 60, &[]));
    assert_eq!(then("2099-12-31T09:00:00Z"), next(&s, "2026-12-01T16:30:00Z", 60, &[]));
    let Next::Never { why } = next(&s, "2100-01-01T00:00:00Z", 60, &[]) else { panic!("it is over") };
    assert!(why.starts_with("its windows are over (2026-12-01 09:00-17:00 UTC, 2099"), "{why}");
}

#[test]
fn says_why_never() {
    let s = schedule(&["10:00-12:00 UTC"]);
    let Next::Never { why } = next(&s, "2026-11-24T00:00:00Z", 60, &["09:00-11:30 UTC"]) else {
        panic!("there are 30 minutes only")
    };
    assert_eq!(
        "no moment of the next two years leaves 1h for it within its windows (daily 10:00-12:00 UTC) outside those in \
         which nothing may run here (daily 09:00-11:30 UTC)",
        why
    );
}

#[test]
fn without_every_it_runs_once() {
    let last = run("2026-11-24T09:00:00Z", "2026-11-24T09:01:00Z");
    let next = Schedule::default().next_start(at("2026-11-25T00:00:00Z"), MINUTE, Some(last), &[]);
    assert_eq!(Next::Never { why: "it has run, and has no `every`".into() }, next);
}

#[test]
fn repeats_from_start_to_start() {
    let s = Schedule { every: Some(DAY), cool_down: MINUTE * 10, ..Schedule::default() };
    let last = run("2026-11-24T09:00:00.2Z", "2026-11-24T09:01:00.3Z");
    let next = |now| s.next_start(at(now), MINUTE, Some(last), &[]);
    assert_eq!(then("2026-11-25T09:00:00Z"), next("2026-11-24T10:00:00Z"));
    assert_eq!(Next::Now, next("2026-11-25T09:00:00Z"));
    assert_eq!(
        Next::Now,
        next("2026-11-29T12:00:00Z"),
        "what was missed is not made up for, and not waited for"
    );
}

#[test]
fn cools_down_after_the_end() {
    let s = Schedule { every: Some(MINUTE * 5), cool_down: MINUTE * 10, ..Schedule::default() };
    let last = run("2026-11-24T09:00:00Z", "2026-11-24T09:04:00.3Z");
    assert_eq!(
        then("2026-11-24T09:14:01Z"),
        s.next_start(at("2026-11-24T09:05:00Z"), MINUTE, Some(last), &[])
    );
}

#[test]
fn a_repetition_that_is_due_outside_waits_for_the_next_window() {
    let s = Schedule { every: Some(DAY), ..schedule(&["10:00-12:00 Europe/Berlin"]) };
    let next = |started: &str, ended: &str| s.next_start(at(ended), MINUTE, Some(run(started, ended)), &[]);
    // The clock goes back in between: a day later it is 09:00.
    let autumn = next("2026-10-24T08:00:00Z", "2026-10-24T08:01:00Z");
    assert_eq!(then("2026-10-25T09:00:00Z"), autumn);
    // It goes forward: 11:00.
    let spring = next("2026-03-28T09:00:00Z", "2026-03-28T09:01:00Z");
    assert_eq!(then("2026-03-29T09:00:00Z"), spring);
}

#[test]
fn a_clock_that_was_set_back_delays_by_one_repetition_at_most() {
    let s = Schedule { every: Some(DAY), cool_down: MINUTE, ..Schedule::default() };
    let last = run("2036-11-24T09:00:00Z", "2036-11-24T09:01:00Z");
    assert_eq!(
        then("2026-11-25T09:00:00Z"),
        s.next_start(at("2026-11-24T09:00:00Z"), MINUTE, Some(last), &[])
    );
}

#[test]
fn changes_of_the_clock() {
    let berlin = schedule(&["02:30-04:00 Europe/Berlin"]);
    assert_eq!(
        then("2026-03-29T01:00:00Z"),
        next(&berlin, "2026-03-29T00:00:00Z", 60, &[]),
        "as the gap ends"
    );
    let skipped = schedule(&["02:00-03:00 Europe/Berlin"]);
    assert_eq!(
        then("2026-03-30T00:00:00Z"),
        next(&skipped, "2026-03-29T00:00:00Z", 30, &[]),
        "not there at all"
    );
    assert_eq!(
        Next::Now,
        next(&skipped, "2026-10-25T00:30:00Z", 60, &[]),
        "from the first 02:30 to the second"
    );
    let york = schedule(&["01:15-01:45 America/New_York"]);
    assert_eq!(then("2026-11-01T05:15:00Z"), next(&york, "2026-11-01T00:00:00Z", 30, &[]));
    assert_eq!(then("2026-11-01T06:15:00Z"), next(&york, "2026-11-01T05:20:00Z", 30, &[]), "once more");
    assert_eq!(then("2026-11-02T06:15:00Z"), next(&york, "2026-11-01T06:20:00Z", 30, &[]));
    assert!(!skipped.has_room_for(MINUTE * 61), "a night with an hour more is no rule");
}

#[test]
fn tells_the_next_start() {
    let s =
        Schedule { every: Some(DAY), ..schedule(&["10:00-12:00 UTC", "Tue..Thu 10:00-12:00 Europe/Berlin"]) };
    assert_eq!("daily 10:00-12:00 UTC, Tue..Thu 10:00-12:00 Europe/Berlin, every 1day", s.to_string());
    let told = |next: &Next, now| s.describe(next, at(now));
    let next = then("2026-11-24T09:00:00Z");
    assert_eq!("in 3 h 12 min (Tue 2026-11-24 10:00 Europe/Berlin)", told(&next, "2026-11-24T05:48:00Z"));
    assert_eq!("in 2 d 1 h (Tue 2026-11-24 10:00 Europe/Berlin)", told(&next, "2026-11-22T07:30:00Z"));
    assert_eq!("in 5 s (Tue 2026-11-24 10:00 Europe/Berlin)", told(&next, "2026-11-24T08:59:55Z"));
    assert_eq!(
        "in 1 h (Wed 2026-11-25 10:00:30 UTC)",
        told(&then("2026-11-25T10:00:30Z"), "2026-11-25T09:00:25Z")
    );
    assert_eq!("now", told(&Next::Now, "2026-11-24T05:48:00Z"));
    assert_eq!("never: so", told(&Next::Never { why: "so".into() }, "2026-11-24T05:48:00Z"));
    assert_eq!("at any time, once", Schedule::default().to_string());
}
