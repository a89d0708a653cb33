//! What is accepted, and that everything else is refused at its place with what would be right.

mod arbitrary;
mod faults;
mod probes;
mod schedule;
mod stops;

use std::time::Duration;

use super::{Mode, Selector, parse};

const GOOD: &str = r#"
name = "redis-loss"
hypothesis = "clients retry"
duration = "60s"
mode = "shadow"
seed = 42

[target]
cgroup = "/system.slice/redis.service"

[[fault]]
kind = "drop"
direction = "both"
protocol = "tcp"
peer = ["10.0.0.0/8:5432-5433", "[2001:db8::1]:443", ":6379"]
exclude = "10.0.0.7"
local_port = [6379, "8000-8099"]
probability = "10%"
start_after = "10s"
pulse = { on = "5s", off = "10s" }

[[fault]]
kind = "connect"
errno = "ECONNREFUSED"
peer = "redis:6379"
probability = 0.25
"#;

#[test]
fn reads_a_whole_experiment() {
    let e = parse("x.toml", GOOD, "x").unwrap();
    assert_eq!("redis-loss", e.name);
    assert_eq!(Duration::from_mins(1), e.duration);
    assert_eq!(Mode::Shadow, e.mode);
    assert_eq!(Some(42), e.seed);
    assert_eq!(Selector::Cgroup("/system.slice/redis.service".into()), e.target.get_ref().selector);
    assert_eq!(["drop-1", "connect-2"], [e.faults[0].name.as_str(), &e.faults[1].name]);
    assert_eq!(3, e.faults[0].side.peers.len());
    assert_eq!(2, e.faults[0].side.packets.local_ports.len());
    assert_eq!("10%", e.faults[0].probability.to_string());
    assert_eq!("25%", e.faults[1].probability.to_string());
}

/// Replaces a line of the good file and expects a refusal: message, what is underlined, and part of the help.
fn refused(line: &str, by: &str, message: &str, underlined: &str, help: &str) {
    assert!(GOOD.contains(line), "{line} is not in the good file");
    refused_whole(&GOOD.replacen(line, by, 1), message, underlined, help);
}

/// Likewise for an experiment of a minute with this fault alone.
fn refused_alone(fields: &str, message: &str, underlined: &str, help: &str) {
    let text = format!("duration = \"60s\"\n[target]\nhost = true\n[[fault]]\n{fields}\n");
    refused_whole(&text, message, underlined, help);
}

fn refused_whole(text: &str, message: &str, underlined: &str, help: &str) {
    let by = text;
    let error = parse("x.toml", text, "x").expect_err(by);
    assert!(error.message().contains(message), "{by}\n got {}\nwant {message}", error.message());
    let (line_no, column) = error.place();
    let rest: String = text.lines().nth(line_no - 1).unwrap_or("").chars().skip(column - 1).collect();
    assert!(rest.starts_with(underlined), "{by}: underlined {rest:?}, wanted {underlined:?}");
    let given = error.suggestion().unwrap_or("");
    assert!(given.contains(help), "{by}\n got help {given:?}\nwant {help:?}");
}

#[test]
fn refuses_bad_time_boxes() {
    let line = r#"duration = "60s""#;
    refused(line, "", "has no `duration`", "", "duration = \"60s\"");
    refused(line, r#"duration = "0s""#, "zero", "\"0s\"", "60s");
    refused(line, r#"duration = "-5s""#, "negative", "\"-5s\"", "50ms");
    refused(line, r#"duration = "2h""#, "too long", "\"2h\"", "1h");
    refused(line, r#"duration = "10M""#, "minutes or months", "\"10M\"", "\"10m\"");
    refused(line, "duration = 60", "no unit", "60", "\"60s\"");
    refused(line, r#"duration = "soon""#, "not a duration", "\"soon\"", "3s");
    refused(line, "duration = true", "is not a duration", "true", "");
}

#[test]
fn refuses_unknown_fields_and_kinds() {
    refused("seed = 42", "sede = 42", "unknown field `sede`", "sede", "did you mean `seed`?");
    refused(
        "probability = \"10%\"",
        "probabilty = \"10%\"",
        "unknown field `probabilty`",
        "probabilty",
        "`probability`",
    );
    refused("kind = \"drop\"", "kind = \"dorp\"", "unknown kind of fault \"dorp\"", "\"dorp\"", "\"drop\"");
    for (elsewhere, here) in [("loss", "\"drop\""), ("latency", "\"delay\""), ("bandwidth", "\"rate\"")] {
        let line = format!("kind = \"{elsewhere}\"");
        refused("kind = \"drop\"", &line, "unknown kind of fault", &format!("\"{elsewhere}\""), here);
    }
    refused("kind = \"drop\"", "", "no `kind`", "[[fault]]", "kind = ");
    refused("[target]", "[target]\nservice = \"x\"", "unknown field `service`", "service", "cgroup");
    refused(
        "errno = \"ECONNREFUSED\"",
        "errno = \"ECONREFUSED\"",
        "unknown errno",
        "\"ECONREFUSED\"",
        "ECONNREFUSED",
    );
    refused("errno = \"ECONNREFUSED\"", "", "neither `errno` nor `redirect`", "[[fault]]", "errno = ");
    refused(
        "errno = \"ECONNREFUSED\"",
        "erno = \"EIO\"",
        "unknown field `erno`",
        "erno",
        "did you mean `errno`?",
    );
    refused(
        "errno = \"ECONNREFUSED\"",
        "errno = \"ECONNREFUSED\"\nlocal_port = 1",
        "unknown field `local_port`",
        "local_port",
        "peer",
    );
    refused("mode = \"shadow\"", "mode = \"shadows\"", "unknown mode", "\"shadows\"", "\"shadow\"");
}

#[test]
fn refuses_names_that_are_no_labels_or_taken() {
    refused("name = \"redis-loss\"", "name = \"a b\"", "not usable as a label", "\"a b\"", "letters");
    let line = "errno = \"ECONNREFUSED\"";
    refused(line, "errno = \"EIO\"\nname = \"drop-1\"", "two faults are called", "\"drop-1\"", "of its own");
}

#[test]
fn refuses_what_can_never_match() {
    refused(
        "protocol = \"tcp\"",
        "protocol = \"icmp\"",
        "icmp has no ports",
        "[[fault]]",
        "leave out the ports",
    );
    let line = "errno = \"ECONNREFUSED\"";
    refused(
        line,
        "errno = \"EIO\"\nprotocol = \"icmp\"",
        "calls are made over tcp and udp",
        "[[fault]]",
        "tcp",
    );
}

#[test]
fn refuses_shares_and_ports_out_of_range() {
    let line = r#"probability = "10%""#;
    refused(line, r#"probability = "101%""#, "outside 0% to 100%", "\"101%\"", "between 0% and 100%");
    refused(line, "probability = 10", "outside 0% to 100%", "10", "did you mean \"10%\"");
    refused(line, "probability = -0.1", "outside", "-0.1", "0%");
    refused(line, "probability = nan", "outside", "nan", "0%");
    refused(line, r#"probability = "some""#, "not a share", "\"some\"", "10%");
    let line = r#"local_port = [6379, "8000-8099"]"#;
    refused(line, "local_port = 65536", "port 65536 is out of range", "65536", "65535");
    refused(line, "local_port = [6379, 0]", "port 0 is out of range", "0", "65535");
    refused(line, "local_port = []", "empty list", "[]", "leave");
    refused(
        r#"exclude = "10.0.0.7""#,
        r#"exclude = "10.0.0.7:70000""#,
        "port 70000",
        "\"10.0.0.7:70000\"",
        "65535",
    );
    refused(r#"exclude = "10.0.0.7""#, "exclude = []", "empty list", "[]", "leave");
}

#[test]
fn refuses_anything_but_one_selector() {
    let line = r#"cgroup = "/system.slice/redis.service""#;
    refused(line, "", "no selector", "[target]", "cgroup = ");
    refused(line, r#"cgroup = """#, "names nothing", "\"\"", "cgroup = ");
    refused(line, "host = false", "selects nothing", "false", "host = true");
    refused(line, "command = []", "empty list", "[]", "");
    refused(line, "cgroup = \"/x\"\nhost = true", "two selectors", "true", "exactly one");
}

#[test]
fn refuses_selectors_that_might_mean_more_or_nothing() {
    let line = r#"cgroup = "/system.slice/redis.service""#;
    refused(line, r#"cgroup = "/a/../b*""#, "goes down only", "\"/a/..", "without ..");
    refused(line, r#"cgroup = "/a[""#, "`cgroup`", "\"/a[", "[ab]");
    refused(line, r#"unit = "system.slice/redis""#, "no slashes", "\"system", "unit = ");
    refused(line, "container = \" \"", "names nothing", "\" \"", "container = ");
    refused(line, "pod = {}", "every pod", "{}", "name = \"*\"");
    refused(line, "pod = { namespace = \"shop\" }", "every pod", "{", "labels");
    refused(line, "pod = { name = \"web\", label = { a = \"b\" } }", "label", "label", "labels");
    for name in ["a/b/c", "/x", "x/"] {
        refused(line, &format!("pod = \"{name}\""), "not the name of a pod", "\"", "namespace/name");
    }
    refused(line, "pid = 0", "no process", "0", "at least 1");
    refused(line, "pid = 7\npick = \"one\"", "means nothing", "\"one\"", "container and pod");
    let named = format!("{line}\npick = \"one\"");
    refused(line, &named, "means nothing", "\"one\"", "patterns of cgroup");
    refused(line, "host = true\nfollow = false", "means nothing", "false", "netns");
    refused(line, "netns = \"/proc/8/ns/net\"\nfollow = true", "means nothing", "true", "netns");
    refused(line, "container = \"a\"\npick = \"0%\"", "nobody", "\"0%\"", "50%");
    refused(line, "container = \"a\"\npick = 1.0", "might be a number", "1.0", "100%");
    refused(line, "container = \"a\"\npick = 0.5", "might be a number", "0.5", "100%");
    refused(line, "host = true\nruntime = \"/x\"", "no container runtime", "\"/x\"", "container and pod");
    refused(line, "container = \"a\"\nruntime = \"x\"", "path of a socket", "\"x\"", "/run/");
    refused(line, "container = \"a\"\npod = \"b\"", "two selectors", "\"b\"", "exactly one");
}

#[test]
fn refuses_patterns_for_the_whole_machine() {
    let line = r#"cgroup = "/system.slice/redis.service""#;
    for by in [r#"cgroup = "/""#, r#"cgroup = "/*""#, r#"unit = "*.slice""#, r#"unit = "-.slice""#] {
        refused(line, by, "is the whole host", "\"", "host = true");
    }
    let some = GOOD.replace(line, "unit = \"*\"");
    assert!(parse("x.toml", &some, "x").is_ok(), "all services are not all processes");
}

#[test]
fn refuses_times_outside_the_time_box() {
    refused(r#"start_after = "10s""#, r#"start_after = "60s""#, "is over", "\"60s\"", "1m");
    refused("on = \"5s\"", "on = \"0s\"", "outside the time box", "\"0s\"", "more than 0");
    refused(", off = \"10s\"", "", "no `off`", "{", "off = ");
}

#[test]
fn refuses_broken_toml_and_an_experiment_without_faults() {
    refused("[target]", "[target", "", "", "");
    let text = "duration = \"1s\"\n[target]\nhost = true\n";
    assert!(parse("x", text, "x").unwrap_err().message().contains("no faults"));
    assert!(parse("x", "duration = \"1s\"\n", "x").unwrap_err().message().contains("no [target]"));
}

/// What a person sees: the whole rendered error, kept as a snapshot.
#[test]
fn shows_the_place() {
    let text = GOOD.replace("probability = \"10%\"", "probabilty = \"10%\"");
    let error = parse("redis.toml", &text, "x").unwrap_err();
    let mut shown = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .render_report(&mut shown, error.as_ref())
        .unwrap();
    insta::assert_snapshot!(shown);
}
