//! What becomes of packets that are to wait when there is no room, or hardly any. What becomes of them at the end:
//! `ending`.

use std::{fs, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kchaos::Ended,
    traffic::{Sink, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, DelayLine, TcEgress): no_more_than_there_is_room_for, who_is_spared_needs_no_room, more_than_the_rate;
}

fn start(ns: &NetNs, cgroup: &Cgroup, head: &str, fault: &str) -> Kchaos {
    start_for(ns, cgroup, "60s", head, &[fault])
}

/// Starts an experiment that is written as a file; `head` is what stands before the target.
pub fn start_for(ns: &NetNs, cgroup: &Cgroup, duration: &str, head: &str, faults: &[&str]) -> Kchaos {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cgroup = cgroup.name();
    let mut text = format!("duration = \"{duration}\"\n{head}\n[target]\ncgroup = \"{cgroup}\"\n");
    for fault in faults {
        text += &format!("[[fault]]\n{fault}\n");
    }
    fs::write(file.path(), text).unwrap();
    Kchaos::start(ns, &["run", file.path().to_str().unwrap()])
}

fn delay_with(ns: &NetNs, cgroup: &Cgroup, delay: &str, head: &str, more: &str) -> Kchaos {
    start(ns, cgroup, head, &format!("kind = \"delay\"\nprotocol = \"udp\"\ndelay = \"{delay}\"\n{more}"))
}

/// Delays UDP.
pub fn delay(ns: &NetNs, cgroup: &Cgroup, delay: &str, head: &str) -> Kchaos {
    delay_with(ns, cgroup, delay, head, "")
}

/// So many numbered packets, all at once.
pub fn send(ns: &NetNs, cgroup: &Cgroup, sink: &Sink, count: u64) {
    let sent = calls(ns, cgroup, &["udp-number", &sink.address.to_string(), &count.to_string(), "0"]);
    assert_eq!(count, sent.ok);
}

/// Packets that the result says were lost in the line.
pub fn undelivered(ended: &Ended) -> u64 {
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

/// Half of the packets are hit, and hardly any of those fit: the other half arrives all the same.
fn who_is_spared_needs_no_room() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    for address in ["10.99.0.2", "fd99::2"] {
        let sink = Sink::new(&far, address.parse().unwrap());
        let kchaos = delay_with(&near, &cgroup, "1s", "[delay_line]\npackets = 10", "probability = \"50%\"");
        send(&near, &cgroup, &sink, 300);
        // Each packet is one that was not drawn, waits, or did not fit.
        std::thread::sleep(Duration::from_millis(1_500));
        let ended = kchaos.stop();
        let lost = ended.skipped(0, "overflow");
        assert!((100..200).contains(&lost), "{ended:?}");
        assert_eq!(300 - lost, sink.count() as u64, "{ended:?}");
        ended.assert_books(0);
    }
}

/// Four times what the rate lets through, for seconds: what passes keeps the rate, and what waits does not grow.
fn more_than_the_rate() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    for address in ["10.99.0.2", "fd99::2"] {
        let sink = Sink::new(&far, address.parse().unwrap());
        // 16 bytes of data: 50 packets a second.
        let bytes = if sink.address.is_ipv4() { 58 } else { 78 };
        let faults = format!("kind = \"rate\"\nrate = \"{}B/s\"\nprotocol = \"udp\"", 50 * bytes);
        let kchaos = start(&near, &cgroup, "[delay_line]\npackets = 25", &faults);
        assert_eq!(
            600,
            calls(&near, &cgroup, &["udp-send", &sink.address.to_string(), "600", "1", "5000"]).ok
        );
        // Half a second's worth waits.
        std::thread::sleep(Duration::from_millis(700));
        let ended = kchaos.stop();
        ended.assert_books(0);
        assert_eq!(600, ended.count(0, "matched"), "{ended:?}");
        assert_eq!(ended.count(0, "injected"), sink.count() as u64, "{ended:?}");
        // The first ones are those that may come at once.
        let arrivals = sink.arrivals().split_off(50);
        let (first, last) = (arrivals[0], arrivals[arrivals.len() - 1]);
        let rate = (arrivals.len() - 1) as f64 / ((last - first) as f64 / 1e9);
        assert!((49.0..51.0).contains(&rate), "{rate} a second: {ended:?}");
        assert!(last - first > 1_500_000_000, "{ended:?}");
    }
}
