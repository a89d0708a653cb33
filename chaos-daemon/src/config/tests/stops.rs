//! What is accepted as a stop condition, and that everything else is refused at its place.

use std::time::Duration;

use proptest::prelude::*;

use super::{parse, refused_whole};
use crate::{
    config::{OnError, StopSpec},
    measure::Source,
};

const FAULT: &str =
    "duration = \"60s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\nname = \"lossy\"\n";

/// Each source, and each field of a condition.
const EVERY: &str = r#"
[[stop]]
name = "users are hurt"
prometheus = { url = "http://127.0.0.1:9090", query = "rate" }
when = "> 2%"
for = "10s"
interval = "500ms"
timeout = "2s"
on_error = "ignore"
[[stop]]
prometheus = { url = "https://user:secret@prometheus.internal/path/", query = "up == 0" }
[[stop]]
http = { url = "http://127.0.0.1:8080/health" }
[[stop]]
http = { url = "http://a/", status = ["200-399", 404], body = "ok", within = "250ms" }
[[stop]]
tcp = { connect = "[2001:db8::1]:5432" }
[[stop]]
command = ["healthy", "--quick"]
[[stop]]
command = "curl -f http://a | grep ok"
[[stop]]
pressure = { resource = "io", kind = "full", window = "60s", cgroup = "/system.slice" }
when = "> 20%"
[[stop]]
counter = "injected"
fault = "lossy"
when = "> 1000"
"#;

fn stops(text: &str) -> Vec<StopSpec> {
    let text = format!("{FAULT}{text}");
    parse("x.toml", &text, "x").unwrap_or_else(|error| panic!("{error}\n{text}")).stops
}

fn refused(fields: &str, message: &str, underlined: &str, help: &str) {
    refused_whole(&format!("{FAULT}[[stop]]\n{fields}\n"), message, underlined, help);
}

#[test]
fn reads_every_source_with_its_defaults() {
    let found = stops(EVERY);
    let first = &found[0];
    assert_eq!(("users are hurt", OnError::Ignore), (first.name.as_str(), first.on_error));
    let times = [first.held_for, first.interval, first.timeout].map(|time| time.as_millis());
    assert_eq!([10_000, 500, 2000], times);
    let second = &found[1];
    assert_eq!(("prometheus-2", OnError::Stop, None), (second.name.as_str(), second.on_error, second.when));
    let times = [second.held_for, second.interval, second.timeout];
    assert_eq!([Duration::ZERO, Duration::from_secs(1), Duration::from_secs(1)], times);
    let words: Vec<String> = found.iter().map(StopSpec::describe).collect();
    let expected = [
        "rate at http://127.0.0.1:9090/ is > 2% for 10s",
        "up == 0 at https://user@prometheus.internal/path/ finds anything",
        "not: http://127.0.0.1:8080/health answers with 2xx within 1s",
        "not: http://a/ answers with 200-399 or 404 and \"ok\" within 250ms",
        "not: [2001:db8::1]:5432 accepts connections within 1s",
        "not: healthy --quick ends with exit code 0",
        "not: /bin/sh -c curl -f http://a | grep ok ends with exit code 0",
        "io pressure of /system.slice (full, 60 s) is > 20%",
        "injected by lossy is > 1000",
    ];
    assert_eq!(expected.map(ToOwned::to_owned).to_vec(), words);
}

#[test]
fn refuses_anything_but_one_source() {
    refused("name = \"x\"", "has no source", "[[stop]]", "prometheus, http, tcp");
    refused("htpp = { url = \"http://a\" }", "unknown field `htpp`", "htpp", "did you mean `http`?");
    refused(
        "counter = \"matched\"\nwhen = \"> 1\"\ntcp = { connect = \"a:1\" }",
        "two sources",
        "{",
        "`tcp` into a [[stop]] of its own",
    );
    refused("tcp = { connect = \"a:1\" }\nwehn = 1", "unknown field `wehn`", "wehn", "`when`");
    refused("tcp = { connect = \"a:1\", witin = \"1s\" }", "unknown field `witin`", "witin", "`within`");
    refused("tcp = \"a:1\"", "must be a table", "\"a:1\"", "");
    let text = format!("{FAULT}[stop]\ntcp = {{ connect = \"a:1\" }}\n");
    refused_whole(&text, "must be written as [[stop]]", "", "[[stop]]");
}

#[test]
fn refuses_comparisons_where_there_is_nothing_to_compare_or_that_never_hold() {
    refused(
        "tcp = { connect = \"a:1\" }\nwhen = \"> 1\"",
        "`when` means nothing for tcp",
        "\"> 1\"",
        "leave",
    );
    refused("counter = \"matched\"", "needs a `when`", "[[stop]]", "when = \"> 1000\"");
    refused("pressure = { resource = \"cpu\" }", "needs a `when`", "[[stop]]", "when = \"> 20%\"");
    let pressure = "pressure = { resource = \"cpu\" }\nwhen = ";
    refused(&format!("{pressure}\"> 20\""), "between 0% and 100%", "\"> 20\"", "\"> 20%\"");
    refused(&format!("{pressure}\"> high\""), "not a comparison", "\"> high\"", "> 0.02");
    refused(&format!("{pressure}20"), "not a comparison", "20", "> 0.02");
    refused("counter = \"matched\"\nwhen = \"> 5%\"", "no share", "\"> 5%\"", "> 1000");
}

#[test]
fn refuses_times_that_make_no_sense() {
    let tcp = |field: &str| format!("tcp = {{ connect = \"a:1\" }}\n{field}");
    refused(&tcp("for = \"60s\""), "when the experiment is over", "\"60s\"", "1m");
    refused(&tcp("interval = \"10ms\""), "out of range", "\"10ms\"", "100ms to 1m");
    refused(&tcp("interval = \"2m\""), "out of range", "\"2m\"", "100ms to 1m");
    refused(&tcp("timeout = \"1s\""), "`timeout` means nothing for tcp", "\"1s\"", "`within`");
    refused("tcp = { connect = \"a:1\", within = \"0s\" }", "out of range", "\"0s\"", "at most 10s");
    refused("command = \"x\"\ntimeout = \"1m\"", "out of range", "\"1m\"", "at most 10s");
    refused(&tcp("on_error = \"go on\""), "`on_error` cannot be", "\"go on\"", "\"ignore\"");
}

#[test]
fn refuses_names_that_are_no_labels_or_taken() {
    let named = |name: &str| format!("name = \"{name}\"\ntcp = {{ connect = \"a:1\" }}");
    for bad in ["", " x", "a\\u0007", &"x".repeat(64)] {
        refused(&named(bad), "not usable as a label", "\"", "63 characters");
    }
    refused(
        &format!("{}\n[[stop]]\n{}", named("größer als 5 %"), named("größer als 5 %")),
        "two stop conditions are called",
        "\"gr",
        "of its own",
    );
}

#[test]
fn refuses_sources_that_name_nothing() {
    let prometheus =
        |url: &str, query: &str| format!("prometheus = {{ url = \"{url}\", query = \"{query}\" }}");
    refused(&prometheus("127.0.0.1:9090", "up"), "127.0.0.1:9090", "\"127", "\"http://");
    refused(&prometheus("ftp://a", "up"), "neither http nor https", "\"ftp", "http://");
    refused(&prometheus("http://a", " "), "the query is empty", "\" \"", "PromQL");
    refused("prometheus = { url = \"http://a\" }", "has no `query`", "", "query = ");
    refused("http = { url = \"http://a\", status = 20 }", "not a status", "20", "2xx");
    refused("http = { url = \"http://a\", body = \"\" }", "nothing in it", "\"\"", "`body`");
    refused("tcp = { connect = \"db\" }", "not a host and its port", "\"db\"", "5432");
    refused("command = []", "empty list", "[]", "");
    refused("command = \"\"", "names no program", "\"\"", "list");
    refused(
        "pressure = { resource = \"disk\" }\nwhen = \"> 1%\"",
        "cannot be \"disk\"",
        "\"disk\"",
        "\"io\"",
    );
    let window = "pressure = { resource = \"io\", window = \"20s\" }\nwhen = \"> 1%\"";
    refused(window, "cannot be \"20s\"", "\"20s\"", "\"300s\"");
    let cgroup = "pressure = { resource = \"io\", cgroup = \"*\" }\nwhen = \"> 1%\"";
    refused(cgroup, "must name one cgroup", "\"*\"", "/system.slice");
    refused("counter = \"lost\"\nwhen = \"> 1\"", "unknown counter", "\"lost\"", "injected");
    refused(
        "counter = \"matched\"\nfault = \"losy\"\nwhen = \"> 1\"",
        "no fault is called losy",
        "\"losy\"",
        "did you mean \"lossy\"?",
    );
    refused("tcp = { connect = \"a:1\" }\nfault = \"lossy\"", "unknown field `fault`", "fault", "");
}

#[test]
fn refuses_too_many() {
    let one = "[[stop]]\ntcp = { connect = \"a:1\" }\n";
    assert_eq!(64, stops(&one.repeat(64)).len());
    refused_whole(&format!("{FAULT}{}", one.repeat(65)), "too many stop conditions", "[[stop]]", "64");
}

proptest! {
    /// Whatever stands in a file: an answer, and no panic.
    #[test]
    fn no_text_makes_it_panic(
        field in "(name|when|for|interval|timeout|on_error|prometheus|http|tcp|command|pressure|counter|fault)",
        value in r#"("[^"\\\n]{0,20}"|[0-9]{1,5}|true|\[\]|\{\}|\{ (url|connect|resource|status) = "[^"\\\n]{0,12}" \})"#,
    ) {
        let text = format!("{FAULT}[[stop]]\n{field} = {value}\n");
        if let Ok(experiment) = parse("x.toml", &text, "x") {
            let source = &experiment.stops[0].source;
            prop_assert!(matches!(source, Source::Http(_) | Source::Tcp(_) | Source::Command(_)), "{}", text);
        }
    }
}
