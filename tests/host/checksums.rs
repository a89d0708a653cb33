//! Answers to packets whose checksums are whole, as they come over a wire: those who get an answer look at its checksum, too.
//! (Between veth devices and on lo nobody does otherwise.) Those of which a network card has made a sum of all bytes
//! (`CHECKSUM_COMPLETE`) cannot be made without one.

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    connection::Ends,
    traffic::{Server, calls},
};

kchaos_tests::tests! {
    needs(spread, TcEgress, TcIngress): answers_are_believed;
}

fn wrong_checksums(ns: &NetNs) -> u64 {
    let text = ns.enter(|| {
        std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()
            + &std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap()
    });
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let of_v4 = lines.windows(2).filter(|pair| pair[0].first() == pair[1].first()).flat_map(|pair| {
        pair[0]
            .iter()
            .zip(&pair[1])
            .filter(|(name, _)| name.contains("CsumErrors"))
            .map(|(_, number)| *number)
    });
    let of_v6 = lines.iter().filter(|line| line[0].contains("CsumErrors")).map(|line| line[1]);
    let numbers: Vec<u64> = of_v4.chain(of_v6).map(|number| number.parse().unwrap()).collect();
    // Of ICMP, TCP and UDP over IPv4, of ICMP and UDP over IPv6.
    assert!(numbers.len() >= 5, "{text}");
    numbers.iter().sum()
}

/// Connections are cut at both ends, and refused; datagrams are refused.
fn answers_are_believed() {
    let (near, far) = NetNs::joined();
    near.checksums_in_software("near");
    far.checksums_in_software("far");
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _far_server = Server::start(&far, &other, "7800");
    let _near_server = Server::start(&near, &target, "7801");
    let mut port = 7810;
    for (far_address, near_address) in [("10.99.0.2", "10.99.0.1"), ("[fd99::2]", "[fd99::1]")] {
        for direction in ["egress", "ingress"] {
            port += 1;
            let at = format!("{far_address}:{port}").parse().unwrap();
            let mut ends = Ends::new((&near, &target), (&far, &other), at);
            let kchaos = Kchaos::inject(&near, "reset", &target, &["--direction", direction]);
            // Enough for packets of many segments.
            if direction == "egress" {
                ends.client.send(300_000);
            } else {
                ends.server.send(300_000);
            }
            let errnos = [ends.client.ended().errno, ends.server.ended().errno];
            assert_eq!([libc::ECONNRESET; 2], errnos, "{at} {direction}");
            assert!(kchaos.stop().count(0, "injected") >= 1);

            let (who, to) = match direction {
                "egress" => ((&near, &target), format!("{far_address}:7800")),
                _ => ((&far, &other), format!("{near_address}:7801")),
            };
            let kchaos = Kchaos::inject(&near, "reject", &target, &["--direction", direction]);
            for verb in ["connect", "udp-ask"] {
                let asked = calls(who.0, who.1, &[verb, &to, "5"]);
                assert_eq!(
                    Some(&5),
                    asked.failed.get(&libc::ECONNREFUSED),
                    "{verb} {to} {direction}: {asked:?}"
                );
            }
            assert!(kchaos.stop().count(0, "injected") >= 1);
        }
    }
    assert_eq!([0, 0], [wrong_checksums(&near), wrong_checksums(&far)]);
}
