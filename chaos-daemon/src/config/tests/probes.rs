//! What is accepted as a probe and as a load, and that everything else is refused at its place.

use std::time::Duration;

use super::{parse, refused_whole};
use crate::config::{During, Experiment};

const FAULT: &str = "duration = \"60s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\n";

const LOAD: &str = "[load]\nhttp = \"http://127.0.0.1:8080/\"\nrate = 200\n";

fn experiment(head: &str, text: &str) -> Experiment {
    let text = format!("{head}{FAULT}{text}");
    parse("x.toml", &text, "x").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(head: &str, text: &str, message: &str, underlined: &str, help: &str) {
    refused_whole(&format!("{head}{FAULT}{text}"), message, underlined, help);
}

#[test]
fn reads_all_of_it() {
    let text = r#"
[[probe]]
name = "error rate"
prometheus = { url = "http://127.0.0.1:9090", query = "x" }
expect = "< 0.5%"
during = "< 5%"
tolerate = "10s"
interval = "500ms"
timeout = "2s"
[[probe]]
http = { url = "http://a/" }
during = "any"
[[probe]]
load = "p99"
window = "10s"
expect = "< 300ms"
[[probe]]
load = "throughput"
expect = "> 190"
"#;
    let found = experiment(
        "tags = [\"redis\", \"staging\"]\nbaseline = \"10s\"\nrecovery = \"2m\"\n",
        &format!("{LOAD}{text}"),
    );
    assert_eq!(
        (Duration::from_secs(10), Duration::from_mins(2)),
        (found.steady.baseline, found.steady.recovery)
    );
    assert_eq!(vec!["redis", "staging"], found.tags);
    assert_eq!(200, found.load.unwrap().rate);
    let [first, second, third, fourth] = &found.probes[..] else { panic!("{:?}", found.probes) };
    assert_eq!(("error rate", "< 0.5%"), (first.name.as_str(), first.expected().as_str()));
    assert!(matches!(first.during, Some(During::Expect(when)) if when.to_string() == "< 5%"));
    assert_eq!((Duration::from_secs(10), Duration::from_millis(500)), (first.tolerate, first.interval));
    assert_eq!((Some(During::Any), "http-2"), (second.during, second.name.as_str()));
    assert_eq!("p99 of the load over 10s", third.source.describe());
    assert_eq!("throughput of the load over 5s", fourth.source.describe());
}

#[test]
fn what_could_never_be_wrong_is_refused() {
    let prometheus = "[[probe]]\nprometheus = { url = \"http://a\", query = \"x\" }\n";
    refused("", prometheus, "needs an `expect`", "[[probe]]", "expect = \"< 0.005\"");
    refused("", &format!("{LOAD}[[probe]]\nload = \"p99\"\n"), "needs an `expect`", "[[probe]]", "< 300ms");
    refused("", "[[probe]]\npressure = { resource = \"cpu\" }\n", "needs an `expect`", "[[probe]]", "< 20%");
    let twice = "[[probe]]\nname = \"a\"\ntcp = { connect = \"a:1\" }\n".repeat(2);
    refused("", &twice, "two probes are called \"a\"", "\"a\"", "of its own");
    refused("baseline = \"5s\"\n", "", "no probe to look at", "\"5s\"", "[[probe]]");
    let tcp = "[[probe]]\ntcp = { connect = \"a:1\" }\n";
    refused("recovery = \"0s\"\n", tcp, "out of range", "\"0s\"", "at most 10m");
    let rare = format!("{tcp}interval = \"30s\"\n");
    refused("", &rare, "looked at every 30s, too rarely", "[[probe]]", "`recovery` longer than 1m");
    refused("", &format!("{tcp}tolerate = \"60s\"\n"), "tolerated", "\"60s\"", "during = \"any\"");
    let both = format!("{tcp}tolerate = \"6s\"\nduring = \"any\"\n");
    refused("", &both, "`tolerate` means nothing", "\"6s\"", "leave out");
    refused("tags = [\"\"]\n", tcp, "this is no tag", "\"\"", "1 to 63");
}

#[test]
fn comparisons_fit_what_is_measured() {
    for (load, expect, help) in [
        ("p99", "< 300", "< 300ms"),
        ("p50", "< 3%", "< 300ms"),
        ("error_rate", "< 1s", "< 1%"),
        ("error_rate", "< 5", "< 1%"),
        ("throughput", "> 10%", "> 190"),
    ] {
        let text = format!("{LOAD}[[probe]]\nload = \"{load}\"\nexpect = \"{expect}\"\n");
        refused("", &text, "cannot be", &format!("\"{expect}\""), help);
    }
    for (source, help) in [
        ("http = { url = \"http://a/\" }", "status, body, within"),
        ("tcp = { connect = \"a:1\" }", "`within`"),
        ("command = [\"true\"]", "exit code 0"),
    ] {
        let text = format!("[[probe]]\n{source}\nexpect = \"> 7\"\n");
        refused("", &text, "a comparison means nothing", "\"> 7\"", help);
    }
    let during = "[[probe]]\ntcp = { connect = \"a:1\" }\nduring = \"whatever\"\n";
    refused("", during, "not a comparison", "\"whatever\"", "any");
}

#[test]
fn a_load_is_whole_and_is_there_if_it_is_measured() {
    refused("", "[load]\nrate = 200\n", "no `http`", "[load]", "http://");
    refused("", "[load]\nhttp = \"http://a/\"\n", "no `rate`", "[load]", "200");
    refused("", "[load]\nhttp = \"http://a/\"\nrate = 100000\n", "out of range", "100000", "1 to 5000");
    let late = format!("{LOAD}timeout = \"1h\"\n");
    refused("", &late, "out of range", "\"1h\"", "at most 30s");
    let probe = "[[probe]]\nload = \"p99\"\nexpect = \"< 1s\"\n";
    refused("", probe, "no load of its own", "[[probe]]", "[load]");
    let stop = "[[stop]]\nload = \"error_rate\"\nwhen = \"> 10%\"\n";
    refused("", stop, "no load of its own", "[[stop]]", "[load]");
    let unknown = format!("{LOAD}[[probe]]\nload = \"p42\"\nexpect = \"< 1s\"\n");
    refused("", &unknown, "unknown number of a load", "\"p42\"", "p50, p99");
    let window = format!("{LOAD}[[probe]]\nload = \"p99\"\nwindow = \"1h\"\nexpect = \"< 1s\"\n");
    refused("", &window, "`window` is out of range", "\"1h\"", "1s to 1m");
}
