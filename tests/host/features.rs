//! `kchaos check` tells the truth: whatever it says, doing it comes to the same; and it says what is known in advance
//! about this kernel.

use std::{net::TcpListener, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, boot_ns,
    suite::{Answer, Feature, Level, emit, facts},
    traffic::{self, Calls, Sink, calls},
    wait_for,
};
use serde_json::json;

kchaos_tests::tests! {
    needs(): check_tells_the_truth;
}

const COUNT: u64 = 20;

fn check_tells_the_truth() {
    for feature in Feature::every() {
        let answer = facts().answer(feature);
        if let Some(expected) = facts().expected() {
            assert_eq!(
                expected[feature.id()],
                answer.answer,
                "{}: tests/expectations.toml against {answer}",
                feature.id()
            );
        }
        match feature {
            Feature::TcEgress => egress(answer),
            Feature::TcIngress => ingress(answer.answer >= Level::Degraded, true),
            Feature::CgroupIngress => ingress(answer.answer >= Level::Degraded, false),
            Feature::DelayLine => delay(answer),
            // `calls.rs` does all of them, and what is said not to work is refused there.
            Feature::Call(_) => {}
            Feature::CgroupConnect => {
                connect("EPERM", libc::EPERM, answer.answer >= Level::Degraded);
                connect("EIO", libc::EIO, answer.answer == Level::Yes);
            }
        }
        let Answer { feature, serves, answer, way, reason } = answer;
        let answer = format!("{answer:?}").to_lowercase();
        emit(&json!({
            "event": "feature", "feature": feature, "serves": serves, "answer": answer, "way": way, "reason": reason,
        }));
    }
}

/// Starts the injection if it is said to work; expects that it is refused if not.
fn attempt(works: bool, ns: &NetNs, kind: &str, target: &[&str], flags: &[&str]) -> Option<Kchaos> {
    let command_line = [&["inject", kind, "--for", "60s"], target, flags].concat();
    if works {
        return Some(Kchaos::start(ns, &command_line));
    }
    let ended = Kchaos::spawn(&command_line, |command| ns.place(command)).wait();
    assert_eq!(Some(4), ended.code, "said not to work, and does: {ended:?}");
    None
}

/// Late while it runs, and only then.
fn delay(answer: &Answer) {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let flags = ["--delay", "300ms", "--peer", &to];
    let kchaos =
        attempt(answer.answer >= Level::Degraded, &ns, "delay", &["--cgroup", cgroup.name()], &flags);
    let Some(kchaos) = kchaos else { return };
    let begun = boot_ns();
    assert_eq!(1, calls(&ns, &cgroup, &["udp-send", &to, "1"]).ok);
    let arrived = sink.first_since(begun, Duration::from_secs(5)).unwrap();
    assert!(arrived - begun >= 300_000_000, "after {} ns", arrived - begun);
    let ended = kchaos.stop();
    assert_eq!(1, ended.count(0, "injected"), "{ended:?}");
    let by_tap = ended.json()["delay_lines"][0]["way"] == "tap";
    assert_eq!(answer.answer == Level::Degraded, by_tap, "{answer}: {ended:?}");
}

/// Missing at the far end of a wire while it runs, and only then.
fn egress(answer: &Answer) {
    let (near, far) = NetNs::joined();
    let cgroup = Cgroup::new("sender");
    let sinks = ["10.99.0.2", "fd99::2"].map(|address| Sink::new(&far, address.parse().unwrap()));
    let send = |count: u64| {
        for sink in &sinks {
            let to = sink.address.to_string();
            assert_eq!(count, calls(&near, &cgroup, &["udp-send", &to, &count.to_string()]).ok);
        }
    };
    let arrived = |expected: u64| {
        wait_for("packets arrive", Duration::from_secs(5), || {
            sinks.iter().all(|sink| sink.count() as u64 == expected)
        });
    };
    // While the neighbour is looked for, only a few packets wait.
    send(1);
    arrived(1);
    let flags = ["--protocol", "udp"];
    if let Some(kchaos) =
        attempt(answer.answer >= Level::Degraded, &near, "drop", &["--cgroup", cgroup.name()], &flags)
    {
        let links = kchaos.held().links.len();
        assert_eq!(answer.way.as_deref() == Some("tcx"), links > 0, "{links} links, and {answer}");
        send(COUNT);
        let ended = kchaos.stop();
        let both = 2 * COUNT;
        assert_eq!((both, both), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        assert!(sinks.iter().all(|sink| sink.count() == 1), "lost on the wire");
    }
    send(COUNT);
    arrived(1 + COUNT);
}

/// Lost at the door of a receiver, of which the kernel says how much it has read. `whole`: of its network namespace.
fn ingress(works: bool, whole: bool) {
    let (ns, receiver, sender) = (NetNs::new(), Cgroup::new("receiver"), Cgroup::new("sender"));
    let path = ns.path();
    let target = if whole { ["--netns", &path] } else { ["--cgroup", receiver.name()] };
    let mut server = traffic::helper(&ns, &receiver, &["serve", "7600"]).spawn().unwrap();
    wait_for("the server listens", Duration::from_secs(5), || {
        calls(&ns, &sender, &["connect", "127.0.0.1:7600", "1"]).ok == 1
    });
    for (to, statistics, counter) in
        [("127.0.0.1:7600", "snmp", "Udp: InDatagrams"), ("[::1]:7600", "snmp6", "Udp6InDatagrams")]
    {
        let read = || datagrams_read(&ns, statistics, counter);
        let before = read();
        let send = || assert_eq!(COUNT, calls(&ns, &sender, &["udp-send", to, &COUNT.to_string()]).ok);
        if let Some(kchaos) = attempt(works, &ns, "drop", &target, &["--direction", "ingress"]) {
            send();
            let ended = kchaos.stop();
            assert_eq!((COUNT, COUNT), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
            assert_eq!(before, read(), "{to}: nothing comes in");
        }
        send();
        wait_for("packets come in", Duration::from_secs(5), || read() == before + COUNT);
    }
    let _killed = server.kill();
    let _reaped = server.wait();
}

/// A counter of the namespace: in `snmp6` a line with a name and a number, in `snmp` two lines of columns.
fn datagrams_read(ns: &NetNs, file: &str, counter: &str) -> u64 {
    let text = ns.enter(|| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap());
    let Some((protocol, column)) = counter.split_once(' ') else {
        let line = text.lines().find_map(|l| l.strip_prefix(counter)).unwrap();
        return line.trim().parse().unwrap();
    };
    let rows: Vec<Vec<&str>> =
        text.lines().filter(|l| l.starts_with(protocol)).map(|l| l.split(' ').collect()).collect();
    let at = rows[0].iter().position(|name| *name == column).unwrap();
    rows[1][at].parse().unwrap()
}

/// What the caller gets, and does not get afterwards.
fn connect(name: &str, number: i32, works: bool) {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("client"));
    let listener = ns.enter(|| TcpListener::bind("[::]:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let every_way = |expected: fn(&Calls, i32) -> u64| {
        for to in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            for verb in ["connect", "udp-connect", "udp-send"] {
                let got = calls(&ns, &cgroup, &[verb, &to, "3"]);
                assert_eq!(3, expected(&got, number), "{name} {verb} {to}: {got:?}");
            }
        }
    };
    if let Some(kchaos) = attempt(works, &ns, "connect", &["--cgroup", cgroup.name()], &["--errno", name]) {
        every_way(|got, number| got.failed.get(&number).copied().unwrap_or(0));
        let ended = kchaos.stop();
        assert_eq!((18, 18), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    }
    every_way(|got, _| got.ok);
}
