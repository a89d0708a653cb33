//! Every mistake in a file is exit 2, with file, line, column, the place underlined and what would be right.

use std::fs;

use kchaos_tests::kchaos::run;

const GOOD: &str = "duration = \"5s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\npeer = \":1\"\n";

/// Runs the good file with `from` replaced by `to`; expects a refusal that names line and column and says `words`.
fn refused(from: &str, to: &str, place: &str, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    assert!(GOOD.contains(from));
    fs::write(&file, GOOD.replacen(from, to, 1)).unwrap();
    let ended = run(&["run", file.to_str().unwrap()]);
    assert_eq!(Some(2), ended.code, "{to}: {ended:?}");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    assert!(ended.stderr.contains(&format!("bad.toml:{place}")), "{to}: no {place} in\n{}", ended.stderr);
    assert!(ended.stderr.contains("help:"), "{to}: no help in\n{}", ended.stderr);
    assert!(
        ended.stderr.contains('─') || ended.stderr.contains('▲'),
        "{to}: nothing underlined in\n{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("nothing was applied"), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{to}: no {word:?} in\n{}", ended.stderr);
    }
}

#[test]
fn unknown_fields_and_kinds() {
    refused("peer", "peeer", "6:1", &["unknown field `peeer`", "did you mean `peer`?"]);
    refused("\"drop\"", "\"dropp\"", "5:8", &["unknown kind of fault \"dropp\"", "did you mean \"drop\"?"]);
    refused("host = true", "hosst = true", "3:1", &["unknown field `hosst`", "did you mean `host`?"]);
}

#[test]
fn flags_and_kinds_as_others_call_them() {
    for (words, said) in [
        (["inject", "latency", "--host"], "'delay'"),
        (["inject", "loss", "--host"], "'drop'"),
        (["inject", "drop", "--port=80"], "--peer :PORT"),
    ] {
        let ended = run(&words);
        assert_eq!(Some(2), ended.code, "{words:?}: {ended:?}");
        assert!(ended.stderr.contains(said), "{words:?}: {ended:?}");
    }
}

#[test]
fn time_boxes() {
    refused("duration = \"5s\"\n", "", "1:1", &["has no `duration`", "add a line: duration"]);
    refused("\"5s\"", "\"0s\"", "1:12", &["zero"]);
    refused("\"5s\"", "\"-5s\"", "1:12", &["negative"]);
    refused("\"5s\"", "\"2h\"", "1:12", &["too long", "the maximum is 1h"]);
    refused("\"5s\"", "5", "1:12", &["no unit", "\"5s\""]);
}

#[test]
fn windows_and_repetition() {
    let with = |line: &str| format!("\"5s\"\n{line}");
    refused("\"5s\"", &with("windows = \"Mon-Fri 10:00-12:00 UTC\""), "2:11", &["names no days", "Mon..Fri"]);
    refused("\"5s\"", &with("every = \"1d\""), "2:9", &["only the daemon repeats"]);
    refused("\"5s\"", &with("every = \"1d\"\ncool_down = \"1m\""), "2:9", &["only the daemon repeats"]);
    refused("\"5s\"", &with("cool_down = \"1m\""), "2:13", &["means nothing without `every`"]);
    let next = &["may not start now", "opens in ", "2999-12-31 09:00 UTC"];
    refused("\"5s\"", &with("windows = \"2999-12-31 09:00-17:00 UTC\""), "2:11", next);
    refused("\"5s\"", &with("windows = \"2001-01-01 09:00-17:00 UTC\""), "2:11", &["not start any more"]);
}

#[test]
fn shares_errnos_and_ports() {
    refused("peer = \":1\"", "probability = \"150%\"", "6:15", &["outside 0% to 100%"]);
    refused("peer = \":1\"", "probability = 50", "6:15", &["did you mean \"50%\"?"]);
    refused("peer = \":1\"", "peer = \":65536\"", "6:8", &["port 65536 is out of range"]);
    refused("peer = \":1\"", "peer = \":0\"", "6:8", &["port 0 is out of range"]);
    refused("\"drop\"\npeer", "\"connect\"\nerrno = \"ENOPE\"\npeer", "6:9", &["unknown errno \"ENOPE\""]);
}

#[test]
fn selectors() {
    refused(
        "host = true",
        "cgroup = \"/no/such/group\"",
        "3:10",
        &["there is no cgroup /no/such/group", "not found"],
    );
    refused("host = true", "cgroup = \"../../etc\"", "3:10", &["goes down only"]);
    refused("host = true", "cgroup = \"/\"", "3:10", &["the whole host", "host = true"]);
    refused("host = true", "host = true\ncgroup = \"/x\"", "3:8", &["two selectors"]);
    refused("host = true", "", "2:1", &["no selector"]);
    refused("host = true", "command = \"/no/such/program\"", "3:11", &["cannot be started"]);
}

#[test]
fn names_without_addresses() {
    refused("\":1\"", "\"no-such-host.invalid:80\"", "6:8", &["no-such-host.invalid", "not resolved"]);
}

#[test]
fn a_file_that_is_not_there() {
    let ended = run(&["run", "/no/such/file.toml"]);
    assert_eq!(Some(2), ended.code, "{ended:?}");
    assert!(
        ended.stderr.contains("/no/such/file.toml") && ended.stderr.contains("No such file"),
        "{ended:?}"
    );
}

#[test]
fn the_command_line_itself() {
    for words in
        [&["frobnicate"][..], &["run"], &["inject", "drop"], &["inject", "frobnicate", "--for", "1s"]]
    {
        let ended = run(words);
        assert_eq!(Some(2), ended.code, "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("Usage") || ended.stderr.contains("help"), "{ended:?}");
    }
    // Whoever is in a hurry is told the whole of it.
    let ended = run(&["halt"]);
    assert_eq!(Some(2), ended.code);
    assert!(ended.stderr.contains("kchaos halt --all"), "{ended:?}");
    let ended = run(&["inject", "drop", "--for", "1s"]);
    assert_eq!(Some(2), ended.code);
    assert!(ended.stderr.contains("no selector") && ended.stderr.contains("--unit"), "{}", ended.stderr);
}

#[test]
fn a_metrics_address_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&["inject", "drop", "--for", "1s", "--host", "--peer", ":1", "--metrics", &address]);
    assert_eq!(Some(2), ended.code, "{ended:?}");
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}
