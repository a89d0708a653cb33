//! Tables of packets through the real programs (`BPF_PROG_TEST_RUN`): what matches, what does not, and that a packet
//! which nothing hits comes out byte for byte as it went in.

mod bench;
pub mod build;

use bench::{Bench, EGRESS, LOST};
use build::{DCCP, HOP_BY_HOP, ICMP, ICMPV6, Packet, TCP, UDP};
use chaos_daemon::engine::boot_ns;

kchaos_tests::tests! {
    needs(TcEgress, CgroupIngress): protocols, truncated_and_lying, the_time_box;
    needs(spread, TcEgress, CgroupIngress): neighbour_discovery_is_left_alone, addresses, ports,
        options_extension_headers_and_fragments, order_of_faults;
}

/// Every packet against one rule for the far end, both ways.
fn assert_table(fault: &str, rows: &[(&str, Packet, bool)]) {
    let mut bench = Bench::new(&format!("[[fault]]\nkind = \"drop\"\ndirection = \"both\"\n{fault}\n"));
    for (what, packet, expected) in rows {
        assert_eq!(*expected, bench.lost_on_egress(&packet.bytes()), "egress: {what}");
        // The same packet, seen from the other end.
        assert_eq!(*expected, bench.lost_on_ingress(&packet.reversed().bytes()), "ingress: {what}");
    }
}

fn v4(protocol: u8) -> Packet {
    Packet::v4([10, 0, 0, 1], [10, 1, 2, 3], protocol).ports(40_000, 5432)
}

fn v6(protocol: u8) -> Packet {
    Packet::v6("2001:db8::1", "2001:db8:5::7", protocol).ports(40_000, 5432)
}

fn protocols() {
    for (protocol, number4, number6) in [("tcp", TCP, TCP), ("udp", UDP, UDP), ("icmp", ICMP, ICMPV6)] {
        let rows: Vec<(&str, Packet, bool)> = [TCP, UDP, ICMP, DCCP, 47, 50, 255]
            .into_iter()
            .map(|n| ("v4", v4(n), n == number4))
            .chain([TCP, UDP, ICMPV6, DCCP, 47, 50, 255].into_iter().map(|n| ("v6", v6(n), n == number6)))
            .collect();
        assert_table(&format!("protocol = \"{protocol}\""), &rows);
    }
}

/// Neighbour discovery is the link's, like ARP, whatever the rule; an echo request is the process's.
fn neighbour_discovery_is_left_alone() {
    let of_type = |kind: u8| v6(ICMPV6).ports(u16::from(kind) << 8, 0);
    let mut bench = Bench::new("[[fault]]\nkind = \"drop\"\ndirection = \"both\"\n");
    for (kind, expected) in [
        (128, true),
        (129, true),
        (1, true),
        (130, false),
        (133, false),
        (135, false),
        (136, false),
        (143, false),
    ] {
        assert_eq!(expected, bench.lost_on_egress(&of_type(kind).bytes()), "type {kind}");
        assert_eq!(expected, bench.lost_on_ingress(&raw_type(kind).bytes()), "type {kind}");
    }
}

/// As [`Packet::reversed`] exchanges the bytes that are the type here, the packet for ingress is made anew.
fn raw_type(kind: u8) -> Packet {
    Packet::v6("2001:db8:5::7", "2001:db8::1", ICMPV6).ports(u16::from(kind) << 8, 0)
}

fn addresses() {
    assert_table(
        "peer = [\"10.1.0.0/16\", \"2001:db8:5::/48\"]\nexclude = [\"10.1.9.9\", \"2001:db8:5::9\"]",
        &[
            ("inside", v4(TCP), true),
            ("first of the network", v4(TCP).towards_v4([10, 1, 0, 0]), true),
            ("last of the network", v4(TCP).towards_v4([10, 1, 255, 255]), true),
            ("before the network", v4(TCP).towards_v4([10, 0, 255, 255]), false),
            ("after the network", v4(TCP).towards_v4([10, 2, 0, 0]), false),
            ("excluded", v4(TCP).towards_v4([10, 1, 9, 9]), false),
            ("v6 inside", v6(UDP), true),
            ("v6 outside", v6(UDP).towards_v6("2001:db8:6::7"), false),
            ("v6 excluded", v6(UDP).towards_v6("2001:db8:5::9"), false),
            ("v6 whose first bytes look like the v4 network", v6(UDP).towards_v6("a01::1"), false),
        ],
    );
}

fn ports() {
    assert_table(
        "peer = \":5432-5433\"",
        &[
            ("first", v4(TCP), true),
            ("last", v6(UDP).ports(1, 5433), true),
            ("below", v4(TCP).ports(1, 5431), false),
            ("above", v4(TCP).ports(1, 5434), false),
            ("the near end has it", v4(TCP).ports(5432, 1), false),
            ("bytes swapped", v4(TCP).ports(1, 5432u16.swap_bytes()), false),
            ("no ports", v4(ICMP), false),
            ("a protocol of unknown ports", v6(50), false),
        ],
    );
    assert_table(
        "local_port = [80, \"8000-8099\"]",
        &[
            ("one", v4(TCP).ports(80, 9), true),
            ("range", v6(TCP).ports(8099, 9), true),
            ("outside", v6(TCP).ports(8100, 9), false),
            ("the far end has it", v4(TCP).ports(9, 80), false),
        ],
    );
}

fn options_extension_headers_and_fragments() {
    const DESTINATION: u8 = 60;
    const ROUTING: u8 = 43;
    const AUTHENTICATION: u8 = 51;
    let with_ports = "peer = \":5432\"";
    let deep = |headers: usize| (0..headers).fold(v6(UDP), |packet, _| packet.extension(DESTINATION, 8));
    assert_table(
        with_ports,
        &[
            ("IPv4 options", v4(TCP).options(40), true),
            ("the shortest IPv4 options", v4(UDP).options(4), true),
            ("first fragment", v4(UDP).fragment(0), true),
            ("later fragment", v4(UDP).fragment(185), false),
            ("hop-by-hop", v6(TCP).extension(HOP_BY_HOP, 8), true),
            (
                "several",
                v6(UDP).extension(HOP_BY_HOP, 16).extension(ROUTING, 24).extension(DESTINATION, 8),
                true,
            ),
            ("as many as are followed", deep(6), true),
            ("one more", deep(7), false),
            ("authentication", v6(TCP).extension(AUTHENTICATION, 24), true),
            ("v6 first fragment", v6(UDP).fragment(0), true),
            ("v6 later fragment", v6(UDP).fragment(185), false),
            ("a VLAN tag", v4(TCP).vlan(7), false),
        ],
    );
    assert_table(
        "protocol = \"udp\"",
        &[
            ("later fragment, without ports", v4(UDP).fragment(185), true),
            ("v6 later fragment, without ports", v6(UDP).fragment(185), true),
            ("later fragment of another protocol", v6(TCP).fragment(185), false),
            ("behind headers", v6(UDP).extension(HOP_BY_HOP, 8), true),
        ],
    );
}

/// Packets that end too early or lie: never a match by mistake, never damaged, never an error of the program.
fn truncated_and_lying() {
    let mut bench = Bench::new("[[fault]]\nkind = \"drop\"\ndirection = \"both\"\npeer = \":5432\"\n");
    let whole = [
        v4(TCP).bytes(),
        v6(UDP).bytes(),
        v4(UDP).options(24).bytes(),
        v6(TCP).extension(HOP_BY_HOP, 24).bytes(),
        v6(UDP).fragment(0).bytes(),
    ];
    for packet in &whole {
        // Up to where the ports end it cannot match; the kernel takes no test packet shorter than an Ethernet header.
        let ports_end = packet.len() - build::PAYLOAD - build::AFTER_PORTS;
        let mut runs = 0;
        for length in 15..packet.len() {
            let cut = &packet[..length];
            // The kernel itself refuses a packet that is shorter than the headers its type promises.
            let Ok(verdict) = bench.object().test_run(EGRESS, cut, 1) else { continue };
            runs += 1;
            assert_eq!(length >= ports_end, verdict.answer == LOST, "{length} of {} bytes", packet.len());
        }
        let promised = 14 + 40;
        assert!(runs >= packet.len() - promised, "only {runs} lengths of {} could be tried", packet.len());
    }
    let mut lies = vec![];
    for header_length in 0..5 {
        let mut packet = v4(TCP).bytes();
        packet[14] = 0x40 | header_length;
        lies.push(("a header length below 20", packet));
    }
    let mut packet = v4(TCP).bytes();
    packet[14] = 0x65;
    lies.push(("IPv6 in an IPv4 frame", packet));
    let mut packet = v6(TCP).bytes();
    packet[14] = 0x45;
    lies.push(("IPv4 in an IPv6 frame", packet));
    let mut packet = v6(TCP).extension(HOP_BY_HOP, 8).bytes();
    packet[14 + 40 + 1] = 255;
    lies.push(("an extension header longer than the packet", packet));
    let mut chain = v6(TCP);
    for _ in 0..20 {
        chain = chain.extension(HOP_BY_HOP, 8);
    }
    lies.push(("more extension headers than anyone sends", chain.bytes()));
    let mut packet = v4(TCP).bytes();
    packet[12..14].copy_from_slice(&0x0806u16.to_be_bytes());
    lies.push(("ARP", packet));
    for (what, packet) in &lies {
        assert!(!bench.lost_on_egress(packet), "{what}");
    }
}

/// The armed check: no lease, an old lease, an old deadline, a deadline ahead.
fn the_time_box() {
    let fault = "[[fault]]\nkind = \"drop\"\n";
    let minute = 60_000_000_000;
    let now = boot_ns();
    let mut bench = Bench::new(fault);
    for (what, start, lease, expected) in [
        ("within", now, now + minute, true),
        ("the lease ran out", now, now - 1, false),
        ("no lease", now, 0, false),
        ("the deadline has passed", now - 10 * minute, u64::MAX, false),
        ("it starts later", now + minute, u64::MAX, false),
    ] {
        let before = bench.matched();
        bench.start(start, lease);
        assert_eq!(expected, bench.lost_on_egress(&v4(TCP).bytes()), "{what}");
        assert_eq!(before + 1, bench.matched(), "{what}: counted all the same");
    }
    // On for five seconds, off for ten: twelve seconds in it is off, sixteen seconds in it is on again.
    let pulsed = format!("{fault}pulse = {{ on = \"5s\", off = \"10s\" }}\n");
    let mut pulse = Bench::new(&pulsed);
    for (seconds, expected) in [(1, true), (12, false), (16, true), (28, false)] {
        pulse.start(boot_ns() - seconds * 1_000_000_000, u64::MAX);
        assert_eq!(expected, pulse.lost_on_egress(&v4(TCP).bytes()), "{seconds} s into the pulse");
    }
    bench.start(boot_ns(), u64::MAX);
    bench.object().halt().unwrap();
    assert!(!bench.lost_on_egress(&v4(TCP).bytes()), "halted");
    bench.object().extend_lease(u64::MAX).unwrap();
    assert!(!bench.lost_on_egress(&v4(TCP).bytes()), "a lease cannot undo a halt");
}

/// Faults in file order, each with a draw of its own; the first that hits ends the evaluation.
fn order_of_faults() {
    let mut bench = Bench::new(
        "[[fault]]\nkind = \"drop\"\nprobability = \"50%\"\n[[fault]]\nkind = \"drop\"\nprobability = \"50%\"\n\
         [[fault]]\nkind = \"drop\"\n[[fault]]\nkind = \"drop\"\n",
    );
    let packet = v4(TCP).bytes();
    for _ in 0..4000 {
        assert!(bench.lost_on_egress(&packet), "the third hits whatever is left");
    }
    let counts = bench.object().counters(4).unwrap();
    assert_eq!(4000, counts[0].matched);
    assert_eq!(4000 - counts[0].injected, counts[1].matched);
    assert_eq!(counts[1].matched - counts[1].injected, counts[2].matched);
    assert_eq!(counts[2].matched, counts[2].injected);
    assert_eq!(0, counts[3].matched, "nothing gets this far");
    kchaos_tests::assert_share("first", 0.5, counts[0].injected, counts[0].matched);
    kchaos_tests::assert_share("second", 0.5, counts[1].injected, counts[1].matched);
    // In shadow mode the same evaluation takes place, and nothing is hit.
    let mut bench = Bench::new("[[fault]]\nkind = \"drop\"\n[[fault]]\nkind = \"drop\"\n");
    assert!(bench.lost_on_egress(&packet));
    let mut shadow = Bench::in_shadow("[[fault]]\nkind = \"drop\"\n[[fault]]\nkind = \"drop\"\n");
    assert!(!shadow.lost_on_egress(&packet));
    let (hit, seen) = (bench.object().counters(2).unwrap(), shadow.object().counters(2).unwrap());
    assert_eq!((1, 0), (hit[0].hits(), hit[1].matched));
    assert_eq!((1, 0), (seen[0].hits(), seen[1].matched));
    assert_eq!(0, seen[0].injected);
}
