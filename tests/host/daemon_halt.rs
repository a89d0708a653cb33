//! Halting many experiments at once, by the kernel's own times: the last injection of each, and the moment at which the
//! request was read. Three rounds in the suite, as many as asked for with `cargo xtask halts`.

use std::{
    env,
    time::{Duration, Instant},
};

use kchaos_tests::{
    Cgroup, NetNs,
    daemon::{Daemon, connect_fault},
    scaled, slow,
    suite::note,
    traffic::Flood,
    wait_for,
};
use serde_json::Value;

kchaos_tests::tests! {
    needs(once, CgroupConnect): fifty_experiments_are_off_at_once;
}

fn rounds() -> u32 {
    env::var("KCHAOS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Rounds with fifty experiments; each of them has something to hit all the time.
fn fifty_experiments_are_off_at_once() {
    let (ns, experiments) = (NetNs::new(), scaled(50));
    let daemon = Daemon::start(&ns, "[rails]\nexperiments = 100\n");
    let cgroups: Vec<Cgroup> = (0..experiments).map(|n| Cgroup::new(&format!("halt-{n}"))).collect();
    let _floods: Vec<Flood> = cgroups
        .iter()
        .map(|cgroup| Flood::start(&ns, cgroup, "127.0.0.1:7777".parse().unwrap(), 2000))
        .collect();
    let (mut late, mut slowest_end) = (Vec::new(), Duration::ZERO);
    for round in 0..rounds() {
        let by_command_line = round % 2 == 0;
        for (n, cgroup) in cgroups.iter().enumerate() {
            daemon.applied(&connect_fault(&format!("x{n}"), cgroup, "60s", 7777));
        }
        let hits = |n: usize| daemon.status(&format!("x{n}"))["faults"][0]["injected"].as_u64().unwrap();
        wait_for("all inject", Duration::from_secs(10), || (0..cgroups.len()).all(|n| hits(n) > 0));
        let begun = Instant::now();
        let received = if by_command_line {
            daemon.ask(&["halt", "--all"])["received_ns"].as_u64().unwrap()
        } else {
            halted_over_http(&daemon)
        };
        slowest_end = slowest_end.max(begun.elapsed());
        for n in 0..cgroups.len() {
            let record = daemon.ask(&["record", &format!("x{n}")]);
            assert_eq!("halted", record["ended"]["reason"], "{record}");
            late.push((last_injection(&record) as f64 - received as f64) / 1e6);
        }
        assert!(daemon.held().is_empty(), "{:?}", daemon.held());
    }
    late.sort_by(f64::total_cmp);
    let latest = late.last().copied().unwrap();
    let percentile = late[late.len() * 99 / 100];
    note(&format!(
        "halt of {experiments}, {} times: the last injection was {percentile:.2} ms (99 of 100), {latest:.2} ms (all) after the \
         request, and everything detached within {:.0} ms",
        rounds(),
        slowest_end.as_secs_f64() * 1e3
    ));
    let earliest = late.first().copied().unwrap();
    assert!(earliest >= -1000.0 * f64::from(slow()), "something was not hit all the time: {late:?}");
    assert!(percentile <= 10.0 * f64::from(slow()), "{late:?}");
    assert!(slowest_end <= Duration::from_secs(1) * slow(), "{slowest_end:?}");
}

/// The boot time of the last injection of a record's only fault.
fn last_injection(record: &Value) -> u64 {
    let after = record["faults"][0]["last_injected_seconds"].as_f64().unwrap();
    record["started_ns"].as_u64().unwrap() + u64::try_from(Duration::from_secs_f64(after).as_nanos()).unwrap()
}

/// Answers with the boot time at which the daemon has read the request.
fn halted_over_http(daemon: &Daemon) -> u64 {
    let answer =
        daemon.say(b"POST /v1/halt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_else(|| panic!("{answer}"));
    let answer: Value = serde_json::from_str(body).unwrap();
    assert_eq!(0, answer["failed"].as_array().unwrap().len(), "{answer}");
    answer["received_ns"].as_u64().unwrap()
}
