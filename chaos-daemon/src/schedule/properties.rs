//! The next start against a scan that looks at the clock on the wall, minute by minute.

use jiff::civil::{Weekday, date};
use proptest::{prelude::*, sample::select};

use super::*;

const MINUTES: usize = 3 * 7 * 24 * 60;
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe", // half an hour of summer time
    "Pacific/Kiritimati",
    "America/Santiago", // changes its clock at midnight
];

/// Noons before a change of some zone's clock, and one before none.
const NOONS: [&str; 8] = [
    "2026-03-07T12:00:00Z",
    "2026-03-28T12:00:00Z",
    "2026-04-04T12:00:00Z",
    "2026-09-05T12:00:00Z",
    "2026-10-03T12:00:00Z",
    "2026-10-24T12:00:00Z",
    "2026-10-31T12:00:00Z",
    "2026-12-20T12:00:00Z",
];

fn window() -> impl Strategy<Value = Window> {
    let days = prop_oneof![
        Just("daily".to_owned()),
        (0..7_i8, 0..7_i8).prop_map(|(a, b)| {
            let day = |n| format!("{:?}", Weekday::from_monday_zero_offset(n).unwrap());
            format!("{}..{}", day(a), day(b))
        }),
        (1..13_i8, 1..28_i8).prop_map(|(month, day)| {
            let first = date(2026, month, day);
            format!("{first}..{}", first.tomorrow().unwrap())
        }),
    ];
    let night = prop_oneof![0..300_u32, 0..1440_u32];
    (days, night, prop_oneof![1..90_u32, 1..1440_u32], select(&ZONES[..])).prop_map(
        |(days, begin, length, zone)| {
            let end = (begin + length) % 1440;
            let text =
                format!("{days} {:02}:{:02}-{:02}:{:02} {zone}", begin / 60, begin % 60, end / 60, end % 60);
            text.parse().unwrap()
        },
    )
}

/// Whether the clock on the wall shows a time in the window, written without any of the code that is tested but for
/// the reading of the window.
fn shows(window: &Window, at: Timestamp) -> bool {
    let shown = window.zone().rules().to_datetime(at);
    [shown.date(), shown.date().yesterday().unwrap()]
        .into_iter()
        .filter_map(|day| window.on(day))
        .any(|(from, to)| from <= shown && shown < to)
}

/// The first minute from which every minute of a run is allowed.
fn scan(
    schedule: &Schedule,
    now: Timestamp,
    minutes: usize,
    last: Option<Run>,
    forbidden: &[Window],
) -> Option<usize> {
    let moment = |n: usize| now + MINUTE * u32::try_from(n).unwrap();
    let allowed = |at| schedule.windows.is_empty() || schedule.windows.iter().any(|w| shows(w, at));
    let free: Vec<bool> = (0..MINUTES + minutes)
        .map(moment)
        .map(|at| allowed(at) && !forbidden.iter().any(|w| shows(w, at)))
        .collect();
    let due = |at: Timestamp| {
        last.is_none_or(|run| {
            schedule.every.is_some_and(|every| at >= run.started + every)
                && at >= run.ended + schedule.cool_down
        })
    };
    (0..MINUTES).find(|n| due(moment(*n)) && free[*n..*n + minutes].iter().all(|free| *free))
}

const MINUTE: Duration = Duration::from_mins(1);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_window_is_open_when_the_clock_on_the_wall_says_so(window in window(), noon in select(&NOONS[..])) {
        let noon = noon.parse::<Timestamp>().unwrap().as_second();
        let within = span::Stretch { from: noon, to: noon + 36 * 3600 };
        let stretches = span::open(std::slice::from_ref(&window), within);
        for second in (within.from..within.to).step_by(60) {
            let is_open = stretches.iter().any(|stretch| (stretch.from..stretch.to).contains(&second));
            prop_assert_eq!(shows(&window, timestamp(second)), is_open, "{} at {}", window, timestamp(second));
        }
    }

    #[test]
    fn is_the_first_minute_that_a_scan_finds(
        windows in prop::collection::vec(window(), 0..4),
        forbidden in prop::collection::vec(window(), 0..4),
        noon in select(&NOONS[..]),
        later in 0..1440_u32,
        minutes in 1..61_usize,
        every in prop::option::of(1..5000_u32),
        cool_down in 0..200_u32,
        ran in prop::option::of((0..6000_u32, 0..60_u32)),
    ) {
        let now = noon.parse::<Timestamp>().unwrap() + MINUTE * later;
        let schedule = Schedule { windows, every: every.map(|m| MINUTE * m), cool_down: MINUTE * cool_down };
        let last = ran.map(|(ago, length)| {
            let started = now - MINUTE * ago;
            Run { started, ended: started + MINUTE * length.min(ago) }
        });
        let duration = MINUTE * u32::try_from(minutes).unwrap();
        let next = schedule.next_start(now, duration, last, &forbidden);
        let horizon = now + MINUTE * u32::try_from(MINUTES).unwrap();
        match (scan(&schedule, now, minutes, last, &forbidden), next) {
            (Some(0), next) => prop_assert_eq!(Next::Now, next),
            (Some(n), next) => prop_assert_eq!(Next::At(now + MINUTE * u32::try_from(n).unwrap()), next),
            (None, Next::At(at)) => prop_assert!(at >= horizon, "{at} is too early"),
            (None, next) => prop_assert!(matches!(next, Next::Never { .. }), "{next:?}"),
        }
    }
}
