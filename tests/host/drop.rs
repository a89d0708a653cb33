//! `drop`: both directions, both families, every protocol; nothing else; and the sender does not notice.

use std::{
    net::{IpAddr, UdpSocket},
    thread,
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    traffic::{self, Sink, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(TcEgress): egress_is_silent_and_complete;
    needs(spread, TcEgress): protocols_and_ports, tcp_repairs_loss_by_fast_retransmission;
    needs(CgroupIngress): ingress_hits_the_receiver_only;
}

fn both_families() -> [IpAddr; 2] {
    ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]
}

/// Everything sent is lost, to the packet, and sending succeeds all the same: a lossy wire is silent.
fn egress_is_silent_and_complete() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    for address in both_families() {
        let sink = Sink::new(&ns, address);
        let to = sink.address.to_string();
        let kchaos = Kchaos::inject(&ns, "drop", &cgroup, &["--peer", &to]);
        let sent = calls(&ns, &cgroup, &["udp-send", &to, "100"]);
        assert_eq!(100, sent.ok, "{sent:?}");
        let ended = kchaos.stop();
        assert_eq!((100, 100), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        assert_eq!(0, sink.count());
        let sent = calls(&ns, &cgroup, &["udp-send", &to, "100"]);
        assert_eq!(100, sent.ok);
        wait_for("all arrive afterwards", Duration::from_secs(5), || sink.count() == 100);
    }
}

/// Packets that arrive at a process of the target.
fn ingress_hits_the_receiver_only() {
    let (ns, receiver, sender) = (NetNs::new(), Cgroup::new("receiver"), Cgroup::new("sender"));
    for address in both_families() {
        // A socket belongs to the cgroup of the process that made it: ours would be the root.
        let sink = Sink::new(&ns, address);
        let to = sink.address.to_string();
        let kchaos = Kchaos::inject(&ns, "drop", &receiver, &["--direction", "ingress"]);
        let sent = calls(&ns, &sender, &["udp-send", &to, "200"]);
        assert_eq!(200, sent.ok);
        wait_for("a receiver outside the target", Duration::from_secs(5), || sink.count() == 200);
        assert_eq!(0, kchaos.stop().count(0, "matched"));
    }
    // A receiver inside: everything is lost at its door, to the packet.
    let mut server = traffic::helper(&ns, &receiver, &["serve", "7100"]).spawn().unwrap();
    wait_for("the server listens", Duration::from_secs(5), || {
        calls(&ns, &sender, &["connect", "127.0.0.1:7100", "1"]).ok == 1
    });
    for to in ["127.0.0.1:7100", "[::1]:7100"] {
        let kchaos =
            Kchaos::inject(&ns, "drop", &receiver, &["--direction", "ingress", "--local-port", "7100"]);
        let sent = calls(&ns, &sender, &["udp-send", to, "200"]);
        assert_eq!(200, sent.ok);
        let ended = kchaos.stop();
        assert_eq!((200, 200), (ended.count(0, "matched"), ended.count(0, "injected")), "{to}: {ended:?}");

        // A connection is not even begun: the SYN is lost, and so is the one sent again a second later.
        let kchaos = Kchaos::inject(&ns, "drop", &receiver, &["--direction", "ingress", "--protocol", "tcp"]);
        let mut client = traffic::helper(&ns, &sender, &["connect", to, "1"]).spawn().unwrap();
        thread::sleep(Duration::from_millis(1500));
        assert_eq!(None, client.try_wait().unwrap(), "{to}: connected through a complete loss");
        let ended = kchaos.stop();
        assert_eq!((2, 2), (ended.count(0, "matched"), ended.count(0, "injected")), "{to}: {ended:?}");
        assert!(client.wait().unwrap().success());
    }
    let _killed = server.kill();
    let _reaped = server.wait();
}

/// ICMP and its sister of IPv6 by one word; a rule with ports does not match what has none.
fn protocols_and_ports() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let socket = ns.enter(|| UdpSocket::bind("[::]:0").unwrap());
    let port = socket.local_addr().unwrap().port();
    // With a probability of 0 % no fault hides packets from the next one: all of them see everything.
    let assert_matched = |words: &[&str], rows: &[(String, u64)]| {
        let faults: Vec<String> = rows
            .iter()
            .map(|(fields, _)| format!("kind = \"drop\"\nprobability = \"0%\"\n{fields}"))
            .collect();
        let kchaos = Kchaos::run(&ns, &cgroup, &faults);
        let _sent = calls(&ns, &cgroup, words);
        let ended = kchaos.stop();
        for (fault, (fields, expected)) in rows.iter().enumerate() {
            assert_eq!(*expected, ended.count(fault, "matched"), "{words:?}: {fields}");
        }
    };
    for to in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_matched(
            &["udp-send", &to, "10"],
            &[
                ("protocol = \"udp\"".into(), 10),
                ("protocol = \"tcp\"".into(), 0),
                ("protocol = \"icmp\"".into(), 0),
                (format!("peer = \":{port}\""), 10),
                (format!("peer = \":{}\"", port ^ 1), 0),
                // The near end has another port.
                (format!("local_port = {port}"), 0),
                (format!("exclude = \"{to}\""), 0),
            ],
        );
        assert_matched(
            &["ping", &to, "10"],
            &[
                ("protocol = \"icmp\"".into(), 10),
                (String::new(), 10),
                // No ports, no match.
                (format!("peer = \":{port}\""), 0),
            ],
        );
        // A datagram of 5,000 bytes over an MTU of 1,500 is four fragments, of which the first has the ports.
        ns.ip("link set lo mtu 1500");
        assert_matched(
            &["udp-send-big", &to, "10"],
            &[
                (String::new(), 40),
                (format!("peer = \":{port}\""), 10),
                // An exclusion holds for the whole datagram, though only its first fragment shows the port.
                (format!("exclude = \":{port}\""), 0),
            ],
        );
        ns.ip("link set lo mtu 65536");
    }
}

/// Loss on the way out looks like loss to TCP, not like a full queue: it keeps sending, and repairs with fast
/// retransmissions instead of stopping until a timer fires.
fn tcp_repairs_loss_by_fast_retransmission() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let counters = |name: &str| -> u64 {
        let text = ns.enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap());
        let rows: Vec<Vec<&str>> =
            text.lines().filter(|l| l.starts_with("TcpExt:")).map(|l| l.split(' ').collect()).collect();
        let at = rows[0].iter().position(|n| *n == name).unwrap();
        rows[1][at].parse().unwrap()
    };
    let kchaos =
        Kchaos::inject(&ns, "drop", &cgroup, &["--probability", "1%", "--seed", "5", "--protocol", "tcp"]);
    let bulk = calls(&ns, &cgroup, &["tcp-bulk", "127.0.0.1:7200", "4000"]);
    assert_eq!(4000, bulk.ok, "{bulk:?}");
    let ended = kchaos.stop();
    assert!(ended.count(0, "injected") > 20, "{ended:?}");
    let (fast, timeouts) =
        (counters("TCPFastRetrans") + counters("TCPSackRecovery"), counters("TCPTimeouts"));
    assert!(fast > timeouts, "{fast} fast recoveries, {timeouts} timeouts");
}
