//! `delay`: packets of the target arrive late, both ways, both families, over every kind of device; nothing else does,
//! and nothing stays behind.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kernel::{Held, has_tcx, lists},
    slow,
    traffic::{self, Sink, calls},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(DelayLine, TcEgress): sent_packets_are_late;
    needs(spread, DelayLine, TcEgress): what_is_left_over_is_put_back;
    needs(DelayLine, TcIngress): received_packets_are_late;
    needs(spread, DelayLine, TcEgress): delays_add_up, others_are_not_late, tcp_is_whole, a_flow_stays_in_order;
    needs(spread, DelayLine, TcIngress): both_ways_are_two_delays, the_shortest;
}

const MS: u64 = 1_000_000;

/// One packet, and how long it took, in ns.
fn trip(ns: &NetNs, cgroup: &Cgroup, sink: &Sink) -> u64 {
    let before = sink.count();
    let sent = calls(ns, cgroup, &["udp-send", &sink.address.to_string(), "1"]);
    assert_eq!(1, sent.ok);
    wait_for("the packet arrives", Duration::from_secs(5), || sink.count() > before);
    sink.arrivals()[before] - sent.begun
}

/// Not early at all, and not later than a busy machine explains.
fn assert_late(what: &str, took: u64, asked_ms: u64) {
    let most = asked_ms * MS + 150 * MS * u64::from(slow());
    assert!((asked_ms * MS..most).contains(&took), "{what}: {took} ns instead of {asked_ms} ms");
}

/// Over lo and over a veth pair.
fn wires(test: impl Fn(&NetNs, &NetNs, IpAddr)) {
    let (near, far) = NetNs::joined();
    for address in ["10.99.0.2", "fd99::2"] {
        test(&near, &far, address.parse().unwrap());
    }
    for address in ["127.0.0.1", "::1"] {
        test(&near, &near, address.parse().unwrap());
    }
}

fn sent_packets_are_late() {
    wires(|near, far, address| {
        let (sink, cgroup) = (Sink::new(far, address), Cgroup::new("sender"));
        let before = lists(near);
        let kchaos = Kchaos::inject(near, "delay", &cgroup, &["--delay", "200ms", "--protocol", "udp"]);
        lists(near).assert_only_a_line_added(&before);
        for _ in 0..2 {
            assert_late(&address.to_string(), trip(near, &cgroup, &sink), 200);
        }
        let ended = kchaos.stop();
        assert_eq!((2, 2), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        assert!(trip(near, &cgroup, &sink) < 200 * MS, "{address}: late after the end");
        lists(near).assert_as(&before, "afterwards");
    });
}

fn received_packets_are_late() {
    wires(|near, far, address| {
        let (receiver, sender) = (Cgroup::new("receiver"), Cgroup::new("sender"));
        // A server of the target, and one beside it.
        let servers = [(&receiver, "7300"), (&sender, "7301")];
        let _servers = servers.map(|(cgroup, port)| traffic::Server::start(far, cgroup, port));
        let kchaos = Kchaos::inject(far, "delay", &receiver, &["--delay", "200ms", "--direction", "ingress"]);
        for protocol in ["udp-echo", "tcp-echo"] {
            let echo = |port: u16| {
                let to = SocketAddr::new(address, port).to_string();
                calls(near, &sender, &[protocol, &to, "1"]).nanos
            };
            assert_late(&format!("{protocol} {address}"), echo(7300), 200);
            assert!(echo(7301) < 200 * MS, "{protocol} {address}: a neighbour is hit");
        }
        let ended = kchaos.stop();
        // Those too by which a connection is made, which is the listener's before it has a socket.
        assert!(ended.count(0, "injected") >= 4 && ended.count(0, "unattributed") == 0, "{ended:?}");
        // What ends the connections may come when nothing is injected any more.
        let late = ended.skipped(0, "lease");
        assert_eq!(ended.count(0, "matched"), ended.count(0, "injected") + late, "{ended:?}");
    });
}

fn both_ways_are_two_delays() {
    wires(|near, far, address| {
        let (client, server) = (Cgroup::new("client"), Cgroup::new("server"));
        let _server = traffic::Server::start(far, &server, "7302");
        let kchaos = Kchaos::inject(near, "delay", &client, &["--delay", "150ms", "--direction", "both"]);
        let to = SocketAddr::new(address, 7302).to_string();
        let took = calls(near, &client, &["udp-echo", &to, "2"]).nanos;
        assert_late(&address.to_string(), took / 2, 300);
        let ended = kchaos.stop();
        assert_eq!((4, 4), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    });
}

/// Two delays, and a loss behind them: each is counted, and what was lost waited for nothing.
fn delays_add_up() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let sink = Sink::new(&ns, "::1".parse().unwrap());
    let fault = |text: &str| format!("{text}\nprotocol = \"udp\"");
    let (first, second) =
        (fault("kind = \"delay\"\ndelay = \"100ms\""), fault("kind = \"delay\"\ndelay = \"120ms\""));
    let kchaos = Kchaos::run(&ns, &cgroup, &[first.clone(), second]);
    assert_late("two", trip(&ns, &cgroup, &sink), 220);
    let ended = kchaos.stop();
    assert_eq!((1, 1), (ended.count(0, "injected"), ended.count(1, "injected")), "{ended:?}");

    let kchaos = Kchaos::run(&ns, &cgroup, &[first, fault("kind = \"drop\"")]);
    let before = sink.count();
    assert_eq!(5, calls(&ns, &cgroup, &["udp-send", &sink.address.to_string(), "5"]).ok);
    let ended = kchaos.stop();
    assert_eq!((5, 0), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    assert_eq!((5, 5), (ended.skipped(0, "lost"), ended.count(1, "injected")), "{ended:?}");
    assert_eq!(before, sink.count());
}

/// A neighbour, another far end, another protocol.
fn others_are_not_late() {
    let (ns, cgroup, neighbour) = (NetNs::new(), Cgroup::new("sender"), Cgroup::new("neighbour"));
    let (hit, spared) =
        (Sink::new(&ns, "127.0.0.1".parse().unwrap()), Sink::new(&ns, "127.0.0.1".parse().unwrap()));
    let kchaos =
        Kchaos::inject(&ns, "delay", &cgroup, &["--delay", "10s", "--peer", &hit.address.to_string()]);
    for (cgroup, sink) in [(&cgroup, &spared), (&neighbour, &hit), (&neighbour, &spared)] {
        assert!(trip(&ns, cgroup, sink) < 5_000 * MS);
    }
    assert_eq!(0, kchaos.stop().count(0, "matched"));
    let _server = traffic::Server::start(&ns, &neighbour, "7305");
    for (asked, other) in [("udp", "tcp-echo"), ("tcp", "udp-echo")] {
        let kchaos = Kchaos::inject(&ns, "delay", &cgroup, &["--delay", "10s", "--protocol", asked]);
        for address in ["127.0.0.1:7305", "[::1]:7305"] {
            let echo = calls(&ns, &cgroup, &[other, address, "1"]);
            assert!(echo.ok == 1 && echo.nanos < 5_000 * MS, "{other} {address}: {echo:?}");
        }
        assert_eq!(0, kchaos.stop().count(0, "matched"));
    }
}

/// The shortest delay there is, of answers as well: no packet is early by more than a fourth of it, and all of them come.
fn the_shortest() {
    let ((near, far), cgroup, server) = (NetNs::joined(), Cgroup::new("client"), Cgroup::new("server"));
    let _server = traffic::Server::start(&far, &server, "7306");
    let kchaos = Kchaos::inject(&near, "delay", &cgroup, &["--delay", "100us", "--direction", "both"]);
    for address in ["10.99.0.2:7306", "[fd99::2]:7306"] {
        let echoes = calls(&near, &cgroup, &["udp-echo", address, "100"]);
        assert_eq!(100, echoes.ok, "{echoes:?}");
        assert!(echoes.each.iter().all(|took| *took >= 150_000), "{echoes:?}");
        assert!(echoes.nanos / 100 < 20 * MS * u64::from(slow()), "{echoes:?}");
    }
    let ended = kchaos.stop();
    assert_eq!((400, 400), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
}

/// What TCP sends comes through complete, whatever large packets it makes of it, and does not trickle.
fn tcp_is_whole() {
    const BLOCKS: &str = "320";
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("both"));
    for at in ["127.0.0.1:7303", "[::1]:7303"] {
        let kchaos = Kchaos::inject(&ns, "delay", &cgroup, &["--delay", "10ms", "--protocol", "tcp"]);
        let bulk = calls(&ns, &cgroup, &["tcp-bulk", at, BLOCKS]);
        assert_eq!(320, bulk.ok, "{bulk:?}");
        // Usually one; where each block waited for the answer to the one before, it would be six and more.
        assert!(bulk.nanos < 5_000 * MS * u64::from(slow()), "{bulk:?}");
        let ended = kchaos.stop();
        assert!(ended.count(0, "injected") > 10, "{ended:?}");
        assert_eq!(serde_json::Value::Null, ended.json()["undelivered"], "{ended:?}");
    }
}

/// Jitter that is many times the distance of packets, and packets that no draw hits between others that wait.
fn a_flow_stays_in_order() {
    let (near, far) = NetNs::joined();
    let cgroup = Cgroup::new("sender");
    for address in ["10.99.0.2", "fd99::2"] {
        for words in [
            &["--delay", "60ms", "--jitter", "50ms", "--distribution", "pareto"][..],
            &["--delay", "50ms", "--probability", "30%"],
            // So close that those that wait are still on their way out when the next one is spared.
            &["--delay", "1ms", "--probability", "1%"],
        ] {
            let sink = Sink::new(&far, address.parse().unwrap());
            let kchaos = Kchaos::inject(&near, "delay", &cgroup, words);
            let to = sink.address.to_string();
            assert_eq!(300, calls(&near, &cgroup, &["udp-number", &to, "300", "500"]).ok);
            wait_for("all arrive", Duration::from_secs(10), || sink.count() == 300);
            let ended = kchaos.stop();
            assert_eq!(300, ended.count(0, "matched"), "{ended:?}");
            assert!(sink.numbers().is_sorted(), "{address} {words:?}: {:?}", sink.numbers());
        }
    }
}

/// Settings of lo are as before after a kill too, when somebody has swept or the next one has come by.
fn what_is_left_over_is_put_back() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let (before, found) = (lists(&ns), settings(&ns));
    // A namespace is found by the processes in it.
    let _resident = traffic::Server::start(&ns, &cgroup, "7304");
    let held = killed(&ns, &cgroup);
    kchaos_tests::kernel::assert_gone_after_kill(&ns, &held);
    let cleaned = kchaos_tests::kchaos::run(&["clean"]);
    assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
    lists(&ns).assert_as(&before, "after a clean");

    for (next, words) in [("delay", &["--delay", "1s"][..]), ("drop", &["--probability", "0%"])] {
        killed(&ns, &cgroup);
        assert_ne!(found, settings(&ns), "nothing was left over");
        if !has_tcx() {
            // Filters are left alone as long as their owner may only be slow.
            std::thread::sleep(Duration::from_millis(2_100));
        }
        let kchaos = Kchaos::inject(&ns, next, &cgroup, words);
        // Who needs them himself puts them back when he ends.
        let while_it_runs = if next == "delay" { [1, 1] } else { found };
        assert_eq!(while_it_runs, settings(&ns), "while {next} runs");
        kchaos.stop();
        lists(&ns).assert_as(&before, next);
    }
}

const SETTINGS: [&str; 2] = ["route_localnet", "accept_local"];

fn settings(ns: &NetNs) -> [u8; 2] {
    let read = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/lo/{name}")).unwrap();
    ns.enter(|| SETTINGS.map(|name| read(name).trim().parse().unwrap()))
}

/// What a kchaos held that delayed packets and was killed. Its line is gone.
fn killed(ns: &NetNs, cgroup: &Cgroup) -> Held {
    let kchaos = Kchaos::inject(ns, "delay", cgroup, &["--delay", "1s"]);
    let held = kchaos.held();
    assert!(ns.ip("-o link").contains("kchaos"), "no line");
    kchaos.signal(Signal::SIGKILL);
    drop(kchaos);
    wait_for("the line goes", Duration::from_secs(2), || !ns.ip("-o link").contains("kchaos"));
    held
}
