//! What becomes of packets that wait: when there is no room, at the end, and when kchaos is killed, stopped, or loses its
//! line.

use std::{fs, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, boot_ns,
    kchaos::Ended,
    kernel::has_tcx,
    slow,
    traffic::{Flood, Sink, calls},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(DelayLine, TcEgress): no_more_than_there_is_room_for, what_is_due_is_delivered, what_is_not_due_is_lost_and_said,
        a_kill_ends_it, a_stopped_engine_lets_go, a_line_that_is_taken_away_ends_it;
}

fn delay(ns: &NetNs, cgroup: &Cgroup, delay: &str, head: &str) -> Kchaos {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "duration = \"60s\"\n{head}\n[target]\ncgroup = \"{}\"\n[[fault]]\nkind = \"delay\"\nprotocol = \"udp\"\ndelay = \
         \"{delay}\"\n",
        cgroup.name()
    );
    fs::write(file.path(), text).unwrap();
    Kchaos::start(ns, &["run", file.path().to_str().unwrap()])
}

fn send(ns: &NetNs, cgroup: &Cgroup, sink: &Sink, count: u64) {
    let sent = calls(ns, cgroup, &["udp-number", &sink.address.to_string(), &count.to_string(), "0"]);
    assert_eq!(count, sent.ok);
}

fn undelivered(ended: &Ended) -> u64 {
    ended.json()["undelivered"].as_u64().unwrap_or(0)
}

/// In packets, and in bytes; the others are lost, and counted.
fn no_more_than_there_is_room_for() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    // On lo a datagram of 5,000 bytes has 5,042 with its headers, and twelve of them 60,504.
    for (ns, address, room, verb, fit) in [
        (&far, "10.99.0.2", "packets = 100", "udp-send", 100),
        (&near, "127.0.0.1", "bytes = \"64KiB\"", "udp-send-big", 12),
    ] {
        let sink = Sink::new(ns, address.parse().unwrap());
        let kchaos = delay(&near, &cgroup, "1s", &format!("[delay_line]\n{room}"));
        assert_eq!(300, calls(&near, &cgroup, &[verb, &sink.address.to_string(), "300"]).ok);
        wait_for("those that fit arrive", Duration::from_secs(5), || sink.count() >= fit);
        let ended = kchaos.stop();
        assert_eq!(300, ended.count(0, "matched"), "{ended:?}");
        assert_eq!(fit as u64, ended.count(0, "injected"), "{ended:?}");
        assert_eq!(300 - fit as u64, ended.skipped(0, "overflow"), "{ended:?}");
        assert_eq!((fit, 0), (sink.count(), undelivered(&ended)), "{ended:?}");
        ended.assert_books(0);
    }
}

fn what_is_due_is_delivered() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "fd99::2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "400ms", "");
    let begun = boot_ns();
    send(&near, &cgroup, &sink, 20);
    let ended = kchaos.stop();
    assert_eq!((20, 0), (ended.count(0, "injected"), undelivered(&ended)), "{ended:?}");
    assert_eq!(20, sink.count());
    assert!(sink.arrivals().iter().all(|when| when - begun >= 400_000_000), "before it was due");
}

fn what_is_not_due_is_lost_and_said() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "fd99::2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "30s", "");
    send(&near, &cgroup, &sink, 20);
    let ended = kchaos.stop();
    assert_eq!((20, 20), (ended.count(0, "injected"), undelivered(&ended)), "{ended:?}");
    assert_eq!(0, sink.count());
    send(&near, &cgroup, &sink, 5);
    wait_for("others pass afterwards", Duration::from_secs(5), || sink.count() == 5);
}

/// With thousands of packets waiting: traffic flows at once where links die with their owner, and when the lease is over
/// where they do not.
fn a_kill_ends_it() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "10.99.0.2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "30s", "");
    send(&near, &cgroup, &sink, 10_000 / u64::from(slow()));
    let _flood = Flood::start(&near, &cgroup, sink.address, 1000);
    kchaos.signal(Signal::SIGKILL);
    let killed = boot_ns();
    let limit = if has_tcx() { Duration::from_millis(100) } else { Duration::from_millis(2_500) };
    let first = sink.first_since(killed, limit);
    assert!(first.is_some(), "nothing within {limit:?}");
    wait_for("no device stays", Duration::from_secs(2), || !near.ip("-o link").contains("kchaos"));
    drop(kchaos);
    let _swept = kchaos_tests::kchaos::run(&["clean"]);
}

/// SIGSTOP: no packet is delayed when the lease is over, and one that waited is not delivered long after its time.
fn a_stopped_engine_lets_go() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "10.99.0.2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "20s", "");
    kchaos.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(2_100));
    let begun = boot_ns();
    send(&near, &cgroup, &sink, 5);
    wait_for("they pass", Duration::from_secs(2), || sink.count() == 5);
    assert!(sink.arrivals().iter().all(|when| *when >= begun));
    kchaos.signal(Signal::SIGCONT);
    assert_eq!(5, kchaos.stop().skipped(0, "lease"));
}

/// Somebody deletes the device: the experiment ends and says why, and packets flow.
fn a_line_that_is_taken_away_ends_it() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "10.99.0.2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "50ms", "");
    let line = near.ip("-o link");
    let name = line.split([' ', ':', '@']).find(|word| word.starts_with("kchaos")).unwrap();
    near.ip(&format!("link del {name}"));
    let ended = kchaos.wait();
    assert_eq!(Some(3), ended.code, "{ended:?}");
    assert!(ended.json()["ended"].to_string().contains("delay line"), "{ended:?}");
    send(&near, &cgroup, &sink, 5);
    wait_for("they pass", Duration::from_secs(5), || sink.count() == 5);
}
