//! `reject`: whoever sent a packet is told at once, in the words that were asked for, and nobody else hears of it.

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    connection::Ends,
    scaled, slow,
    traffic::{Server, Sink, calls},
};

kchaos_tests::tests! {
    needs(TcEgress, TcIngress): connections_are_refused, a_connection_is_reset_at_the_senders_end;
    needs(spread, TcEgress, TcIngress): datagrams_are_refused_in_the_words_asked_for;
    needs(once, TcEgress, TcIngress): as_many_as_asked, what_must_not_be_answered_is_lost_in_silence, large_datagrams_are_refused;
}

const MS: u64 = 1_000_000;

/// By address: what a sender over IPv4, and over IPv6, makes of the four answers (`net/ipv4/icmp.c`, `net/ipv6/icmp.c`).
const ERRNOS: [(&str, i32, i32); 4] = [
    ("port", libc::ECONNREFUSED, libc::ECONNREFUSED),
    ("host", libc::EHOSTUNREACH, libc::EHOSTUNREACH),
    ("network", libc::ENETUNREACH, libc::ENETUNREACH),
    ("admin", libc::EHOSTUNREACH, libc::EACCES),
];

/// A target that asks, and one that is asked: over lo and a veth pair.
fn datagrams_are_refused_in_the_words_asked_for() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _far_server = Server::start(&far, &other, "7500");
    let _near_server = Server::start(&near, &target, "7501");
    // An experiment is a second's work for a translated guest, and the kernels differ in none of these.
    for (with, v4, v6) in ERRNOS.into_iter().skip(if slow() > 1 { 3 } else { 0 }) {
        // Who asks, and where: the target, and someone who asks the target.
        for (direction, client, at, errno) in [
            ("egress", (&near, &target), "10.99.0.2:7500", v4),
            ("egress", (&near, &target), "[fd99::2]:7500", v6),
            ("egress", (&near, &target), "127.0.0.1:7501", v4),
            ("egress", (&near, &target), "[::1]:7501", v6),
            ("ingress", (&far, &other), "10.99.0.1:7501", v4),
            ("ingress", (&far, &other), "[fd99::1]:7501", v6),
            ("ingress", (&near, &other), "127.0.0.1:7501", v4),
            ("ingress", (&near, &other), "[::1]:7501", v6),
        ] {
            let words = ["udp-ask", at, "10"];
            assert_eq!(10, calls(client.0, client.1, &words).ok, "{at} without a fault");
            let flags = ["--with", with, "--protocol", "udp", "--direction", direction];
            let kchaos = Kchaos::inject(&near, "reject", &target, &flags);
            let asked = calls(client.0, client.1, &words);
            let ended = kchaos.stop();
            let what = format!("{with} {direction} {at}: {asked:?} {ended:?}");
            assert_eq!(Some(&10), asked.failed.get(&errno), "{what}");
            assert_eq!((10, 10), (ended.count(0, "matched"), ended.count(0, "injected")), "{what}");
            assert!(asked.nanos / 10 < MS * u64::from(slow()), "{what}");
        }
    }
}

fn connections_are_refused() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _far_server = Server::start(&far, &other, "7510");
    let _near_server = Server::start(&near, &target, "7511");
    for (direction, client, at) in [
        ("egress", (&near, &target), "10.99.0.2:7510"),
        ("egress", (&near, &target), "[fd99::2]:7510"),
        ("egress", (&near, &target), "127.0.0.1:7511"),
        ("egress", (&near, &target), "[::1]:7511"),
        ("ingress", (&far, &other), "10.99.0.1:7511"),
        ("ingress", (&far, &other), "[fd99::1]:7511"),
    ] {
        // Whatever ICMP would say.
        let flags = ["--with", "admin", "--protocol", "tcp", "--direction", direction];
        let kchaos = Kchaos::inject(&near, "reject", &target, &flags);
        let asked = calls(client.0, client.1, &["connect", at, "50"]);
        let ended = kchaos.stop();
        assert_eq!(Some(&50), asked.failed.get(&libc::ECONNREFUSED), "{direction} {at}: {asked:?}");
        assert_eq!(50, ended.count(0, "injected"), "{ended:?}");
        assert!(asked.nanos / 50 < MS * u64::from(slow()), "{direction} {at}: {asked:?}");
    }
}

/// The other end is not told: to it the sender has gone silent.
fn a_connection_is_reset_at_the_senders_end() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    for (number, at) in ["10.99.0.2:7520", "[fd99::2]:7521"].into_iter().enumerate() {
        let mut ends = Ends::new((&near, &target), (&far, &other), at.parse().unwrap());
        let kchaos = Kchaos::inject(&near, "reject", &target, &["--protocol", "tcp"]);
        ends.client.send(100_000);
        let client = ends.client.ended();
        assert_eq!(libc::ECONNRESET, client.errno, "{client:?}");
        assert!(!ends.server.has_ended(), "{number}");
        assert!(kchaos.stop().count(0, "injected") >= 1);
    }
}

fn as_many_as_asked() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _server = Server::start(&far, &other, "7530");
    let count = scaled(2_000);
    for at in ["10.99.0.2:7530", "[fd99::2]:7530"] {
        let kchaos = Kchaos::inject(&near, "reject", &target, &["--probability", "20%", "--protocol", "udp"]);
        let asked = calls(&near, &target, &["udp-ask", at, &count.to_string()]);
        let ended = kchaos.stop();
        let refused = asked.failed.get(&libc::ECONNREFUSED).copied().unwrap_or(0);
        assert_eq!((count, refused), (asked.ok + refused, ended.count(0, "injected")), "{asked:?} {ended:?}");
        assert_share(at, 0.2, refused, count);
    }
}

/// Groups of receivers: nobody is told (RFC 1122, 3.2.2), and nothing comes through.
fn what_must_not_be_answered_is_lost_in_silence() {
    let (near, far) = NetNs::joined();
    let target = Cgroup::new("target");
    near.ip("route add 224.0.0.0/4 dev near");
    let kchaos = Kchaos::inject(&near, "reject", &target, &["--protocol", "udp"]);
    let received = || {
        let links: serde_json::Value = serde_json::from_str(&far.ip("-s -j link show dev far")).unwrap();
        links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    let before = received();
    assert_eq!(10, calls(&near, &target, &["udp-send", "224.0.0.99:7540", "10"]).ok);
    let ended = kchaos.stop();
    assert_eq!((10, 10), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    assert_eq!(before, received());
}

/// Datagrams that are sent in pieces: the first one is refused, and so is what it belongs to.
fn large_datagrams_are_refused() {
    let (near, far) = NetNs::joined();
    let target = Cgroup::new("target");
    for address in ["10.99.0.2", "fd99::2"] {
        let sink = Sink::new(&far, address.parse().unwrap());
        let kchaos = Kchaos::inject(&near, "reject", &target, &["--protocol", "udp"]);
        let sent = calls(&near, &target, &["udp-send-big", &sink.address.to_string(), "10"]);
        let ended = kchaos.stop();
        assert_eq!(10, sent.ok, "{sent:?}");
        assert_eq!(0, sink.count(), "{address}");
        assert!(ended.count(0, "injected") >= 10, "{ended:?}");
        ended.assert_books(0);
    }
}
