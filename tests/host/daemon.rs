//! The node daemon: experiments from their hand-over to their record, and what is refused. `daemon_ends` has their ends.

use std::{thread, time::Duration};

use kchaos_tests::{
    Cgroup, NetNs,
    daemon::{Daemon, connect_fault},
    slow,
    traffic::{Flood, calls},
    wait_for,
};
use serde_json::Value;

kchaos_tests::tests! {
    needs(once, CgroupConnect): a_life_from_hand_over_to_record, one_name_is_one_experiment, one_target_is_one_experiment,
        guard_rails_hold, mistakes_are_shown_at_their_place, a_waiting_caller_starts_nothing_twice,
        what_is_forbidden_stays_so, a_halt_during_a_start;
}

/// Where nobody listens.
pub const PORT: u16 = 7777;

/// How many of so many connects of a cgroup fail.
pub fn fails(ns: &NetNs, cgroup: &Cgroup, count: u64) -> u64 {
    let seen = calls(ns, cgroup, &["udp-connect", &format!("127.0.0.1:{PORT}"), &count.to_string()]);
    assert_eq!(count, seen.ok + seen.failed.values().sum::<u64>());
    seen.failed.values().sum()
}

fn phases(events: &str, name: &str) -> Vec<String> {
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ours = events.filter(|event| event["experiment"] == name);
    ours.map(|event| event["phase"].as_str().unwrap().to_owned()).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Counts in the status, the metrics, and the record are the same; events and the audit log tell all of it.
fn a_life_from_hand_over_to_record() {
    let (ns, cgroup, other) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("other"));
    let daemon = Daemon::start(&ns, "");
    let applied = daemon.applied(&connect_fault("life", &cgroup, "30s", PORT));
    assert_eq!("running", applied["phase"], "{applied}");
    assert_eq!((500, 0), (fails(&ns, &cgroup, 500), fails(&ns, &other, 50)));

    let status = daemon.status("life");
    let fault = &status["faults"][0];
    assert_eq!((500, 500), (number(&fault["matched"]), number(&fault["injected"])), "{status}");
    assert!((1.0..30.0).contains(&status["seconds_left"].as_f64().unwrap()), "{status}");
    let scraped = daemon.say(b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let labels = "experiment=\"life\",fault=\"connect-1\",kind=\"connect\"";
    for line in [
        format!("kchaos_injected_total{{{labels}}} 500"),
        format!("kchaos_matched_total{{{labels}}} 500"),
        "kchaos_experiments{phase=\"running\"} 1".to_owned(),
        "kchaos_transitions_total{phase=\"running\"} 1".to_owned(),
        "kchaos_transitions_total{phase=\"ended\"} 0".to_owned(),
    ] {
        assert!(scraped.contains(&line), "{line} is not in\n{scraped}");
    }

    let early = daemon.run(&["record", "life"]);
    assert_eq!(Some(4), early.code, "{early:?}");
    let halt = daemon.ask(&["halt", "life"]);
    assert_eq!("life", halt["halted"][0], "{halt}");
    assert_eq!(0, fails(&ns, &cgroup, 50));
    assert!(daemon.held().is_empty(), "{:?}", daemon.held());
    let status = daemon.status("life");
    assert_eq!(("ended", "halted"), (status["phase"].as_str().unwrap(), status["end"].as_str().unwrap()));
    assert_eq!(500, number(&status["faults"][0]["injected"]));
    let record = daemon.ask(&["record", "life"]);
    assert_eq!(
        (500, "halted"),
        (number(&record["faults"][0]["injected"]), record["ended"]["reason"].as_str().unwrap())
    );
    assert_eq!(0, daemon.ask(&["halt", "life"])["halted"].as_array().unwrap().len(), "it is over already");

    let events = daemon.run(&["events", "--output", "json"]).stdout;
    assert_eq!(["pending", "checking", "running", "recovering", "ended"], phases(&events, "life")[..]);
    let audit = daemon.audit();
    let apply = audit.iter().find(|line| line["request"] == "apply life").unwrap();
    assert_eq!(0, apply["peer"]["uid"]);
    assert!(
        apply["document"].as_str().unwrap().contains("kind = \"connect\"") && apply["peer"]["pid"].is_u64()
    );
    assert!(audit.iter().any(|line| line["request"] == "halt life"
        && line["answer"].as_str().is_some_and(|answer| answer.starts_with("halted 1 (life)"))));
    assert_eq!(5, audit.iter().filter(|line| line["event"]["experiment"] == "life").count());
}

fn one_name_is_one_experiment() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let text = connect_fault("x", &cgroup, "30s", PORT);
    let uid = daemon.applied(&text)["uid"].clone();
    assert_eq!(uid, daemon.applied(&text)["uid"], "the same file starts nothing");
    let other = daemon.apply(&connect_fault("x", &cgroup, "31s", PORT));
    assert_eq!(Some(4), other.code, "{other:?}");
    assert!(other.stderr.contains("another experiment called x is running"), "{other:?}");
    daemon.ask(&["halt", "x"]);
    assert_ne!(uid, daemon.applied(&text)["uid"], "one that is over can be started again");
    // A time box that is over.
    daemon.ask(&["halt", "x"]);
    daemon.applied(&connect_fault("x", &cgroup, "300ms", PORT));
    assert_eq!("completed", daemon.ended("x", Duration::from_secs(5))["end"]);
}

/// A target has one experiment at a time, unless the second one says that this is meant; one that hits nothing is not
/// counted.
fn one_target_is_one_experiment() {
    let (ns, cgroup, other) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("other"));
    let daemon = Daemon::start(&ns, "");
    let child = cgroup.child("below");
    daemon.applied(&connect_fault("first", &cgroup, "30s", PORT));
    daemon.applied(&connect_fault("beside", &other, "30s", PORT));
    for target in [&cgroup, &child] {
        let second = daemon.apply(&connect_fault("second", target, "30s", PORT));
        assert_eq!(Some(4), second.code, "{second:?}");
        assert!(second.stderr.contains("the experiment first runs on the same target"), "{second:?}");
    }
    let shadow = connect_fault("shadow", &child, "30s", PORT);
    assert_eq!("running", daemon.applied(&format!("mode = \"shadow\"\n{shadow}"))["phase"]);
    let meant = connect_fault("meant", &child, "30s", PORT + 1);
    assert_eq!("running", daemon.applied(&format!("alongside = true\n{meant}"))["phase"]);
    assert_eq!(20, fails(&ns, &child, 20), "the first one hits what lies below");
    let counts = |name: &str| number(&daemon.status(name)["faults"][0]["matched"]);
    assert_eq!((20, 0), (counts("first"), counts("meant")));
    let all = daemon.ask(&["halt", "--all"]);
    assert_eq!(4, all["names"].as_array().unwrap().len(), "{all}");
    assert!(daemon.ask(&["list"]).as_array().unwrap().iter().all(|status| status["phase"] == "ended"));
}

fn guard_rails_hold() {
    let (ns, cgroup, safe) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("safe"));
    let rails = format!(
        "[rails]\nkinds = [\"connect\"]\nprobability = \"50%\"\nduration = \"10s\"\nexperiments = 1\n\
         forbidden_targets = [\"{}\"]\nforbidden_peers = [\"127.0.0.2\", \"::1\"]\n",
        safe.name()
    );
    let daemon = Daemon::start(&ns, &rails);
    let fault = |cgroup: &Cgroup, duration: &str| connect_fault("x", cgroup, duration, PORT);
    let half = |text: String| format!("{text}probability = \"50%\"\n");
    for (text, said) in [
        (half(fault(&cgroup, "11s")), "longer than the 10s"),
        (fault(&cgroup, "5s"), "at most 50 %"),
        (
            half(fault(&cgroup, "5s")).replace("kind = \"connect\"\nerrno = \"EPERM\"", "kind = \"drop\""),
            "kind drop",
        ),
        (format!("allow_protected = true\n{}", half(fault(&cgroup, "5s"))), "allow_protected"),
        (half(fault(&safe.child("below"), "5s")), "is forbidden"),
        (
            half(fault(&cgroup, "5s"))
                .replace(&format!("cgroup = \"{}\"", cgroup.name()), "command = [\"true\"]"),
            "no command",
        ),
    ] {
        let refused = daemon.apply(&text);
        assert_eq!(Some(2), refused.code, "{text}\n{refused:?}");
        assert!(refused.stderr.contains(said), "{said}: {refused:?}");
        assert!(daemon.held().is_empty());
    }
    daemon.applied(&half(fault(&cgroup, "5s")));
    let second = daemon.apply(&half(connect_fault("y", &Cgroup::new("more"), "5s", PORT)));
    assert_eq!(Some(4), second.code, "{second:?}");
    assert!(second.stderr.contains("no more may at a time: x"), "{second:?}");
    for address in ["127.0.0.2", "[::1]"] {
        let seen = calls(&ns, &cgroup, &["udp-connect", &format!("{address}:{PORT}"), "50"]);
        assert_eq!(50, seen.ok, "{address} is forbidden: {seen:?}");
    }
    assert_eq!(100, number(&daemon.status("x")["faults"][0]["skipped"]["protected"]));
    assert_ne!(0, fails(&ns, &cgroup, 200));
}

/// Also for a cgroup that appears while an experiment follows its target.
fn what_is_forbidden_stays_so() {
    let (ns, parent) = (NetNs::new(), Cgroup::new("parent"));
    let allowed = parent.child("web");
    let rails = format!("[rails]\nforbidden_targets = [\"{}/db*\"]\n", parent.name());
    let daemon = Daemon::start(&ns, &rails);
    let all =
        connect_fault("x", &parent, "30s", PORT).replace(parent.name(), &format!("{}/*", parent.name()));
    daemon.applied(&all);
    let (late, forbidden) = (parent.child("late"), parent.child("db-1"));
    wait_for("a newcomer is hit", Duration::from_secs(5), || fails(&ns, &late, 5) == 5);
    assert_eq!((5, 0), (fails(&ns, &allowed, 5), fails(&ns, &forbidden, 5)));
    daemon.ask(&["halt", "x"]);
    let changes = daemon.ask(&["record", "x"])["changes"].to_string();
    assert!(changes.contains("db-1") && changes.contains("forbidden"), "{changes}");
    let again = daemon.apply(&all);
    assert_eq!(Some(2), again.code, "now it is there from the start: {again:?}");
}

/// At any moment of it: nothing is injected after the request was read.
fn a_halt_during_a_start() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let _flood = Flood::start(&ns, &cgroup, format!("127.0.0.1:{PORT}").parse().unwrap(), 200);
    let text = connect_fault("x", &cgroup, "30s", PORT);
    let mut before = 0;
    // A start takes seconds where everything is translated, and so does each of these.
    let steps = if slow() > 1 { 8 } else { 20 };
    for step in 0..steps {
        let received = thread::scope(|scope| {
            scope.spawn(|| daemon.apply(&text));
            thread::sleep(Duration::from_millis(160) * step * slow() / steps);
            let answer = daemon.run(&["halt", "x", "--output", "json"]);
            (answer.code == Some(0)).then(|| number(&answer.json()["received_ns"]))
        });
        // One that was asked before it was known has changed nothing.
        let Some(received) = received else { continue };
        let status = daemon.status("x");
        if status["phase"] != "ended" || status["end"] == "failed" {
            before += u32::from(status["end"] == "failed");
            daemon.ask(&["halt", "x"]);
            continue;
        }
        let record = daemon.run(&["record", "x", "--output", "json"]);
        if record.code == Some(4) {
            assert!(record.stderr.contains("x did not start: halted"), "{record:?}");
            before += 1;
            continue;
        }
        assert_eq!(Some(0), record.code, "{record:?}");
        let record = record.json();
        let Some(after) = record["faults"][0]["last_injected_seconds"].as_f64() else {
            continue;
        };
        let last =
            number(&record["started_ns"]) + u64::try_from(Duration::from_secs_f64(after).as_nanos()).unwrap();
        let late = last.saturating_sub(received) / 1_000_000;
        assert!(late <= 10 * u64::from(slow()), "step {step}: {late} ms after the request: {record}");
    }
    kchaos_tests::suite::note(&format!(
        "halts during a start: {before} of {steps} came before anything was applied"
    ));
}

/// Whether they are found by the command line or by the daemon.
fn mistakes_are_shown_at_their_place() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let good = connect_fault("x", &cgroup, "5s", PORT);
    for (text, line, said) in [
        (good.replace("EPERM", "ENOTHING"), 7, "errno"),
        (good.replace(cgroup.name(), "/nobody/is/here"), 4, "cgroup"),
        (good.replace(&format!(":{PORT}"), "no-such-host.invalid:1"), 8, "no-such-host"),
    ] {
        let refused = daemon.apply(&text);
        assert_eq!(Some(2), refused.code, "{refused:?}");
        let error: Value =
            serde_json::from_str(&refused.stderr).unwrap_or_else(|e| panic!("{e}: {refused:?}"));
        assert_eq!(line, number(&error["error"]["line"]), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(said), "{error}");
        assert!(daemon.held().is_empty());
    }
    assert_eq!("checking", phases(&daemon.run(&["events", "--output", "json"]).stdout, "x")[1]);
    let no_daemon = daemon.run(&["list", "--socket", "/nowhere/x.sock"]);
    assert_eq!(Some(4), no_daemon.code, "{no_daemon:?}");
    assert!(no_daemon.stderr.contains("kchaos daemon"), "{no_daemon:?}");
}

fn a_waiting_caller_starts_nothing_twice() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let text = connect_fault("x", &cgroup, "200ms", PORT);
    let first = daemon.apply_as(&text, &["--request", "deploy 7/1"]).json();
    daemon.ended("x", Duration::from_secs(5));
    let again = daemon.apply_as(&text, &["--request", "deploy 7/1"]).json();
    assert_eq!((&first["uid"], "ended"), (&again["uid"], again["phase"].as_str().unwrap()), "{again}");
    let other = daemon.apply_as(&text, &["--request", "deploy 7/2"]).json();
    assert_ne!(first["uid"], other["uid"]);
    // One that failed fails again, and does not take the record of the run before with it.
    daemon.ended("x", Duration::from_secs(5));
    let absent = text.replace(cgroup.name(), "/nobody/is/here");
    for _ in 0..2 {
        let failed = daemon.apply_as(&absent, &["--request", "deploy 7/3"]);
        assert_eq!(Some(2), failed.code, "{failed:?}");
    }
    assert_eq!("time_box", daemon.ask(&["record", "x"])["ended"]["reason"]);
}
