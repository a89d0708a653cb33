//! Members that come, go and are chosen; devices that appear; units and processes; connections.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::UdpSocket,
    process::Stdio,
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kchaos::run,
    slow,
    traffic::{self, Sink, calls},
};

kchaos_tests::tests! {
    needs(spread, TcEgress): a_restarted_member_is_hit_again_and_its_neighbour_never;
    needs(spread, TcEgress): one_of_several_is_picked_by_seed,
        a_picked_one_that_is_restarted_is_hit_again,
        a_device_that_appears_is_watched, a_unit_by_its_name, a_process_that_is_not_alone_is_refused,
        connections_are_hit_as_a_whole, old_connections_are_left_alone;
    needs(spread, CgroupConnect): members_that_come_later_have_their_calls_hit;
    needs(spread): nobody_is_an_error;
}

const TO: &str = "127.0.0.1:9911";

fn sink(ns: &NetNs) -> UdpSocket {
    ns.enter(|| UdpSocket::bind(TO).unwrap())
}

/// Longer than it takes until newcomers are noticed.
fn noticed() {
    std::thread::sleep(Duration::from_millis(700) * slow().min(4));
}

fn send(ns: &NetNs, cgroup: &Cgroup, count: u64) {
    assert_eq!(count, calls(ns, cgroup, &["udp-send", TO, &count.to_string()]).ok);
}

fn drop_on(ns: &NetNs, pattern: &str, more: &[&str]) -> Kchaos {
    let flags = ["inject", "drop", "--for", "60s", "--protocol", "udp", "--cgroup", pattern];
    Kchaos::start(ns, &[&flags[..], more].concat())
}

fn a_restarted_member_is_hit_again_and_its_neighbour_never() {
    let ns = NetNs::new();
    let _sink = sink(&ns);
    let (parent, neighbour) = (Cgroup::new("pods"), Cgroup::new("neighbour"));
    let first = parent.child("web-1");
    let other = parent.child("db-1");
    let kchaos = drop_on(&ns, &format!("{}/web-*", parent.name()), &[]);
    send(&ns, &first, 10);
    drop(first);
    noticed();
    let again = parent.child("web-1");
    let third = parent.child("web-2");
    noticed();
    for (cgroup, count) in [(&again, 20), (&third, 30), (&other, 500), (&neighbour, 500)] {
        send(&ns, cgroup, count);
    }
    let ended = kchaos.stop();
    assert_eq!((60, 60), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    let changes = ended.json()["changes"].as_array().unwrap().len();
    assert_eq!(3, changes, "left, joined, joined: {ended:?}");
}

fn members_that_come_later_have_their_calls_hit() {
    let ns = NetNs::new();
    let parent = Cgroup::new("pods");
    let _first = parent.child("web-1");
    let errno = kchaos_tests::suite::an_errno();
    let pattern = format!("{}/web-*", parent.name());
    let kchaos =
        Kchaos::start(&ns, &["inject", "connect", "--errno", errno.0, "--for", "60s", "--cgroup", &pattern]);
    let later = parent.child("web-2");
    noticed();
    let got = calls(&ns, &later, &["udp-connect", TO, "5"]);
    assert_eq!(Some(&5), got.failed.get(&errno.1), "{got:?}");
    let ended = kchaos.stop();
    assert_eq!(5, ended.count(0, "injected"), "{ended:?}");
}

/// The same seed picks the same one, another seed another one sooner or later, and always just one.
fn one_of_several_is_picked_by_seed() {
    let ns = NetNs::new();
    let _sink = sink(&ns);
    let parent = Cgroup::new("pods");
    let members: Vec<Cgroup> = (0..4).map(|n| parent.child(&format!("web-{n}"))).collect();
    let pattern = format!("{}/web-*", parent.name());
    let picked = |seed: &str| {
        let kchaos = drop_on(&ns, &pattern, &["--pick", "one", "--seed", seed]);
        for (index, member) in members.iter().enumerate() {
            send(&ns, member, 1 << index);
        }
        let ended = kchaos.stop();
        let hit = ended.count(0, "matched");
        assert!(hit.is_power_of_two() && hit <= 8, "{ended:?}");
        assert_eq!(1, ended.json()["members"].as_array().unwrap().len());
        hit
    };
    let first = picked("1");
    assert_eq!(first, picked("1"));
    assert!((2..8).any(|seed| picked(&seed.to_string()) != first));
}

/// Who was picked is picked again after a restart, and nobody is hit in his place meanwhile.
fn a_picked_one_that_is_restarted_is_hit_again() {
    let ns = NetNs::new();
    let _sink = sink(&ns);
    let parent = Cgroup::new("pods");
    let mut members: Vec<Option<Cgroup>> = (0..4).map(|n| Some(parent.child(&format!("web-{n}")))).collect();
    let pattern = format!("{}/web-*", parent.name());
    let one = || drop_on(&ns, &pattern, &["--pick", "one", "--seed", "5"]);
    let kchaos = one();
    for (index, member) in members.iter().flatten().enumerate() {
        send(&ns, member, 1 << index);
    }
    let picked = usize::try_from(kchaos.stop().count(0, "matched").ilog2()).unwrap();

    let kchaos = one();
    members[picked] = None;
    noticed();
    members.iter().flatten().for_each(|other| send(&ns, other, 3));
    members[picked] = Some(parent.child(&format!("web-{picked}")));
    noticed();
    members.iter().flatten().for_each(|member| send(&ns, member, 7));
    let ended = kchaos.stop();
    assert_eq!((7, 7), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
}

fn a_device_that_appears_is_watched() {
    let ns = NetNs::new();
    let cgroup = Cgroup::new("target");
    let mut resident = traffic::helper(&ns, &cgroup, &["serve", "7800"]).spawn().unwrap();
    let kchaos = Kchaos::inject(&ns, "drop", &cgroup, &["--protocol", "udp", "--peer", "10.9.0.2"]);
    for words in [
        "link add va type veth peer name vb",
        "addr add 10.9.0.1/24 dev va",
        "link set va up",
        "link set vb up",
        "neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev va",
    ] {
        ns.ip(words);
    }
    noticed();
    let sent = calls(&ns, &cgroup, &["udp-send", "10.9.0.2:9", "25"]);
    assert_eq!(25, sent.ok, "{sent:?}");
    let ended = kchaos.stop();
    assert_eq!((25, 25), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    let _killed = resident.kill();
    let _reaped = resident.wait();
}

fn a_unit_by_its_name() {
    let ns = NetNs::new();
    let _sink = sink(&ns);
    let slice = Cgroup::new("system.slice");
    let (unit, other) = (slice.child("kct-test.service"), slice.child("kct-other.service"));
    let kchaos =
        Kchaos::start(&ns, &["inject", "drop", "--for", "60s", "--protocol", "udp", "--unit", "kct-test"]);
    send(&ns, &unit, 10);
    send(&ns, &other, 100);
    assert_eq!(10, kchaos.stop().count(0, "matched"));
}

fn a_process_that_is_not_alone_is_refused() {
    let ns = NetNs::new();
    let _sink = sink(&ns);
    let cgroup = Cgroup::new("target");
    let start = |port: &str| traffic::helper(&ns, &cgroup, &["serve", port]).spawn().unwrap();
    let mut one = start("7801");
    let pid = one.id().to_string();
    let flags = ["inject", "drop", "--for", "60s", "--protocol", "udp", "--pid", &pid];
    let kchaos = Kchaos::start(&ns, &flags);
    send(&ns, &cgroup, 7);
    assert_eq!(7, kchaos.stop().count(0, "matched"));
    let mut other = start("7802");
    let ended = run(&flags);
    assert_eq!(Some(2), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("shares its cgroup"), "{ended:?}");
    for process in [&mut one, &mut other] {
        let _killed = process.kill();
        let _reaped = process.wait();
    }
}

fn nobody_is_an_error() {
    for (selector, message) in [
        (&["--cgroup", "/no-such-*"][..], "no cgroup matches"),
        (&["--unit", "no-such-unit"], "no unit"),
        (&["--pid", "2147483647"], "no process"),
        (&["--cgroup", "/x", "--unit", "y"], "two selectors"),
        (&["--host", "--pick", "one"], "means nothing"),
        (&["--pid", "many"], "`pid`"),
    ] {
        let ended = run(&[&["inject", "drop", "--for", "5s"], selector].concat());
        assert_eq!(Some(2), ended.code, "{selector:?}: {ended:?}");
        assert!(ended.stderr.contains(message), "{selector:?}: {ended:?}");
    }
    let parent = Cgroup::new("pods");
    let _members = [parent.child("web-1"), parent.child("web-2")];
    let pattern = format!("{}/web-*", parent.name());
    let ended = run(&["inject", "drop", "--for", "5s", "--cgroup", &pattern, "--pick", "10%"]);
    assert_eq!(Some(2), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("10% of 2 is nobody"), "{ended:?}");
}

/// Every packet of a connection, or none: a socket loses all of its packets or nothing at all.
fn connections_are_hit_as_a_whole() {
    let ns = NetNs::new();
    let cgroup = Cgroup::new("target");
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let kchaos = drop_on(&ns, cgroup.name(), &["--flows", "50%", "--seed", "5"]);
    let mut hit = 0;
    for _ in 0..20 {
        let before = sink.count();
        assert_eq!(10, calls(&ns, &cgroup, &["udp-send", &to, "10"]).ok);
        // What arrives over the loopback has arrived when it was sent; the sink may be slow to read it.
        std::thread::sleep(Duration::from_millis(20) * slow());
        let now = sink.count();
        assert!(now == before || now == before + 10, "{before} -> {now}: a part of a connection");
        hit += u64::from(now == before);
    }
    let ended = kchaos.stop();
    assert_eq!((200, 10 * hit), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    kchaos_tests::assert_share("connections", 0.5, hit, 20);
}

fn old_connections_are_left_alone() {
    let ns = NetNs::new();
    let (cgroup, server) = (Cgroup::new("target"), Cgroup::new("server"));
    let mut resident = traffic::helper(&ns, &server, &["serve", "7803"]).spawn().unwrap();
    kchaos_tests::wait_for("the server listens", Duration::from_secs(5), || {
        calls(&ns, &server, &["connect", "127.0.0.1:7803", "1"]).ok == 1
    });
    let mut old =
        traffic::helper(&ns, &cgroup, &["tcp-hold", "127.0.0.1:7803"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(old.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!("connected\n", line);
    let shadow = ["--protocol", "tcp", "--peer", ":7803", "--new-only", "--shadow"];
    let kchaos = Kchaos::inject(&ns, "drop", &cgroup, &shadow);
    old.stdin.take().unwrap().write_all(b"over the connection that was there before").unwrap();
    assert!(old.wait().unwrap().success());
    assert_eq!(3, calls(&ns, &cgroup, &["connect", "127.0.0.1:7803", "3"]).ok);
    let ended = kchaos.stop();
    let skipped = &ended.json()["faults"][0]["skipped"];
    assert!(skipped["old_flow"].as_u64().unwrap() >= 1, "the data: {skipped}");
    assert!(skipped["shadow"].as_u64().unwrap() >= 9, "SYN, ACK and FIN of each: {skipped}");
    let _killed = resident.kill();
    let _reaped = resident.wait();
}
