//! Texts that nobody has written: whatever they say, they are read or refused, with a place in the text, and nothing panics.

use proptest::prelude::*;

use super::{GOOD, parse};
use crate::daemon::parse_settings;

const STOPS: &str = r#"
[[stop]]
name = "users are hurt"
prometheus = { url = "http://127.0.0.1:9090", query = "rate(errors[1m])" }
when = "> 2%"
for = "10s"

[[stop]]
name = "slow"
http = { url = "http://[::1]:8080/health", status = "200-399", within = "500ms" }
"#;

const TIMES: &str =
    "windows = [\"Tue..Thu 10:00-12:00 Europe/Berlin\"]\nevery = \"1d\"\ncool_down = \"10m\"\n";

const SETTINGS: &str = "socket = \"/run/k.sock\"\nmetrics = \"[::1]:9187\"\nlog = \"json\"\n[rails]\nkinds = [\"drop\"]\n\
    probability = \"50%\"\nforbidden_targets = [\"/system.slice/*\"]\nforbidden_peers = [\"10.0.0.0/8\"]\n\
    forbidden_windows = [\"Sat..Sun 00:00-24:00 UTC\"]\n";

/// Every piece of a text that stands for itself.
fn pieces(text: &str) -> Vec<String> {
    text.split_inclusive([' ', '\n', '"', ',', '.', ':', '=', '[', ']']).map(ToOwned::to_owned).collect()
}

/// A text in which some pieces are gone, repeated, or others.
fn mangled(text: &str) -> impl Strategy<Value = String> + use<> {
    let pieces = pieces(text);
    let count = pieces.len();
    let other = prop_oneof![
        any::<String>(),
        proptest::sample::select(vec![
            "\"",
            "=",
            "[",
            "]]",
            "-1",
            "1e400",
            "18446744073709551616",
            "\u{0}",
            "ß",
            "''",
            "{}"
        ])
        .prop_map(ToOwned::to_owned),
    ];
    proptest::collection::vec((0..count, 0..count, any::<bool>(), other), 1..4).prop_map(move |changes| {
        let mut pieces = pieces.clone();
        for (at, from, copy, other) in changes {
            pieces[at] = if copy { pieces[from].clone() } else { other };
        }
        pieces.concat()
    })
}

fn is_refused_at_a_place(text: &str) {
    if let Err(error) = parse("x.toml", text, "x") {
        let (line, column) = error.place();
        assert!(
            line >= 1 && column >= 1 && line <= text.matches('\n').count() + 1,
            "{line}:{column} of {text:?}"
        );
        assert!(!error.message().is_empty());
        // Shown to the end: a place inside of a character would panic here.
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
        handler.render_report(&mut String::new(), error.as_ref()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn an_experiment(text in mangled(&format!("{TIMES}{GOOD}{STOPS}"))) {
        is_refused_at_a_place(&text);
    }

    #[test]
    fn anything(text in any::<String>()) {
        is_refused_at_a_place(&text);
        let _read_or_refused = parse_settings(&text);
    }

    #[test]
    fn settings(text in mangled(SETTINGS)) {
        if let Err(problem) = parse_settings(&text) {
            prop_assert!(!problem.message.is_empty());
            let _shown = problem.in_source("daemon.toml", &text).to_string();
        }
    }
}

#[test]
fn what_is_mangled_was_right() {
    parse("x.toml", &format!("{TIMES}{GOOD}{STOPS}"), "x").unwrap();
    parse_settings(SETTINGS).unwrap();
}
