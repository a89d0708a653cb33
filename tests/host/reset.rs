//! `reset`: both ends hear of it at once, at the byte or the age that was asked for, and nobody else does.

use std::{io::Write as _, net::SocketAddr, process::Stdio, thread, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    connection::{Ended, Ends},
    scaled, slow,
    statistics::percentile,
    traffic::{Server, calls, helper},
};

kchaos_tests::tests! {
    needs(TcEgress, TcIngress): both_ends_hear_of_it;
    needs(spread, TcEgress, TcIngress): new_ones_are_refused, after_so_many_bytes;
    needs(once, TcEgress, TcIngress): after_some_time, as_many_connections_as_asked, others_are_left_alone,
        a_port_that_is_used_again, probes_are_packets_too, forgotten_connections_are_counted;
}

const MS: u64 = 1_000_000;

/// Over lo and over a veth pair: a test gets the target's namespace, the far one, and an address of the far one with a
/// port that nobody has had.
pub fn wires(first_port: u16, mut test: impl FnMut(&NetNs, &NetNs, SocketAddr)) {
    let (near, far) = NetNs::joined();
    let places = [(&far, "10.99.0.2"), (&far, "fd99::2"), (&near, "127.0.0.1"), (&near, "::1")];
    for (port, (other, address)) in (first_port..).zip(places) {
        test(&near, other, SocketAddr::new(address.parse().unwrap(), port));
    }
}

/// Whether both saw ECONNRESET, and how long after the packet that showed the connection, in milliseconds.
fn both_saw_it(what: &str, ends: &[Ended; 2]) -> f64 {
    let wrote = ends.iter().map(|end| end.wrote).max().unwrap();
    let took = ends.each_ref().map(|end| {
        assert_eq!(libc::ECONNRESET, end.errno, "{what}: {ends:?}");
        end.when.saturating_sub(wrote)
    });
    took.into_iter().max().unwrap() as f64 / MS as f64
}

/// Within 5 ms, whichever end is the target and whichever way the packet goes.
fn both_ends_hear_of_it() {
    // An experiment is a second's work for a translated guest.
    let tries = if slow() > 1 { 1 } else { 5 };
    for direction in ["egress", "ingress"] {
        for target_is_client in [true, false] {
            let mut port = 7400;
            wires(7400, |near, far, address| {
                let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
                let what = format!("{direction} of the client {target_is_client} {address}");
                let took: Vec<f64> = (0..tries)
                    .map(|_| {
                        port += 1;
                        // The target is in the near namespace, and so is the address if it is the server.
                        let at = if target_is_client { address } else { mirrored(address) };
                        let at = SocketAddr::new(at.ip(), port);
                        let (near_end, far_end) = ((near, &target), (far, &other));
                        let mut ends = if target_is_client {
                            Ends::new(near_end, far_end, at)
                        } else {
                            Ends::new(far_end, near_end, at)
                        };
                        let kchaos = Kchaos::inject(near, "reset", &target, &["--direction", direction]);
                        let target_sends = direction == "egress";
                        let sender = if target_sends == target_is_client {
                            &mut ends.client
                        } else {
                            &mut ends.server
                        };
                        sender.send(100);
                        let took = both_saw_it(&what, &[ends.client.ended(), ends.server.ended()]);
                        let ended = kchaos.stop();
                        assert_eq!(
                            (1, 1),
                            (ended.count(0, "matched"), ended.count(0, "injected")),
                            "{ended:?}"
                        );
                        took
                    })
                    .collect();
                let median = percentile(&took, 0.5);
                assert!(median < 5.0 * f64::from(slow()), "{what}: {took:?} ms");
            });
        }
    }
}

/// The address of the near end of the same wire.
fn mirrored(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip().to_string().as_str() {
        "10.99.0.2" => "10.99.0.1".parse().unwrap(),
        "fd99::2" => "fd99::1".parse().unwrap(),
        _ => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// At once: under a millisecond each on lo, from the target's side and from that of whoever asks the target.
fn new_ones_are_refused() {
    let count = 100;
    wires(7410, |near, far, address| {
        for direction in ["egress", "ingress"] {
            let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
            let port = address.port().to_string();
            let (server, client) = if direction == "egress" {
                ((far, &other), (near, &target))
            } else {
                ((near, &target), (far, &other))
            };
            let _server = Server::start(server.0, server.1, &port);
            let at = if direction == "egress" { address } else { mirrored(address) };
            let words = ["connect", &at.to_string(), &count.to_string()];
            assert_eq!(count, calls(client.0, client.1, &words).ok, "without a fault");
            let flags = ["--direction", direction, "--peer", ":7410-7420"];
            // The server's peers have any port: its own is the one to name.
            let flags = if direction == "egress" { &flags[..] } else { &flags[..2] };
            let kchaos = Kchaos::inject(near, "reset", &target, flags);
            let refused = calls(client.0, client.1, &words);
            let ended = kchaos.stop();
            assert_eq!(
                Some(&count),
                refused.failed.get(&libc::ECONNREFUSED),
                "{at} {direction}: {refused:?}"
            );
            assert_eq!(count, ended.count(0, "injected"), "{ended:?}");
            let each = refused.nanos / count;
            assert!(each < MS * u64::from(slow()), "{at} {direction}: {each} ns");
        }
    });
}

/// Neither a segment more nor a segment less, with segments of up to 64 KiB (GSO).
fn after_so_many_bytes() {
    const SEGMENT: u64 = 65_536;
    let sizes = [("64KiB", 1 << 16), ("1MiB", 1 << 20), ("1KiB", 1 << 10), ("10MiB", 10 << 20)];
    for (size, bytes) in sizes.into_iter().take(if slow() > 1 { 1 } else { 4 }) {
        for direction in ["egress", "ingress"] {
            let mut port = 7430;
            wires(7430, |near, far, address| {
                port += 1;
                let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
                let at = SocketAddr::new(address.ip(), port);
                let kchaos =
                    Kchaos::inject(near, "reset", &target, &["--after", size, "--direction", direction]);
                let mut ends = Ends::new((near, &target), (far, &other), at);
                let (sender, receiver) = match direction {
                    "egress" => (&mut ends.client, &mut ends.server),
                    _ => (&mut ends.server, &mut ends.client),
                };
                sender.send(4 * bytes + SEGMENT);
                let (near_end, far_end) = (sender.ended(), receiver.ended());
                let ended = kchaos.stop();
                let what = format!("{size} {direction} {at}: {near_end:?} {far_end:?} {ended:?}");
                assert_eq!([libc::ECONNRESET; 2], [near_end.errno, far_end.errno], "{what}");
                let most = bytes.saturating_sub(SEGMENT)..=bytes + SEGMENT;
                assert!(most.contains(&far_end.read), "{what}");
                assert!(ended.skipped(0, "early") > 0, "{what}");
                ended.assert_books(0);
            });
        }
    }
}

/// A connection that goes on and on is cut when it is as old as was asked, and not before.
fn after_some_time() {
    wires(7440, |near, far, address| {
        let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
        let kchaos = Kchaos::inject(near, "reset", &target, &["--after", "600ms"]);
        let begun = kchaos_tests::boot_ns();
        let mut ends = Ends::new((near, &target), (far, &other), address);
        let made = kchaos_tests::boot_ns();
        while !ends.client.has_ended() {
            ends.client.send(10);
            thread::sleep(Duration::from_millis(20));
            assert!(kchaos_tests::boot_ns() - made < 30_000 * MS, "it lives for ever");
        }
        let (client, server) = (ends.client.ended(), ends.server.ended());
        assert_eq!([libc::ECONNRESET; 2], [client.errno, server.errno], "{client:?} {server:?}");
        assert!(server.when - begun >= 600 * MS, "too early");
        assert!(server.when - made < 900 * MS * u64::from(slow()), "after {} ns", server.when - made);
        kchaos.stop().assert_books(0);
    });
}

/// Each connection is drawn for once, however many packets it has. Each is another one: with a port that is used again comes
/// what was drawn for it, and the ports of those that were refused are free at once.
fn as_many_connections_as_asked() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _server = Server::start(&far, &other, "7450");
    let count = scaled(5_000);
    for (address, first_port) in [("10.99.0.2:7450", "20000"), ("[fd99::2]:7450", "26000")] {
        let kchaos = Kchaos::inject(&near, "reset", &target, &["--probability", "30%", "--seed", "9"]);
        let made = calls(&near, &target, &["connect-from", address, first_port, &count.to_string()]);
        let ended = kchaos.stop();
        let refused = made.failed.get(&libc::ECONNREFUSED).copied().unwrap_or(0);
        assert_eq!(count, made.ok + refused, "{made:?}");
        assert_eq!(refused, ended.count(0, "injected"), "{ended:?}");
        assert_share(address, 0.3, refused, count);
        ended.assert_books(0);
    }
}

/// Those of other cgroups, those that were there before with `new_only`, and UDP.
fn others_are_left_alone() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _server = Server::start(&far, &other, "7470");
    for (old, address) in [("10.99.0.2:7471", "10.99.0.2:7470"), ("[fd99::2]:7471", "[fd99::2]:7470")] {
        let mut before = Ends::new((&near, &target), (&far, &other), old.parse().unwrap());
        let kchaos = Kchaos::inject(&near, "reset", &target, &["--new-only", "--direction", "both"]);
        before.client.send(1000);
        before.server.send(1000);
        assert_eq!(20, calls(&near, &other, &["connect", address, "20"]).ok);
        assert_eq!(20, calls(&near, &target, &["udp-ask", address, "20"]).ok);
        let refused = calls(&near, &target, &["connect", address, "20"]);
        assert_eq!(Some(&20), refused.failed.get(&libc::ECONNREFUSED), "{refused:?}");
        assert!(!before.client.has_ended() && !before.server.has_ended());
        let ended = kchaos.stop();
        assert_eq!(20, ended.count(0, "injected"), "{ended:?}");
        assert!(ended.skipped(0, "old_flow") >= 4, "{ended:?}");
        drop(before.server);
        assert_eq!(1000, before.client.ended().read);
    }
}

/// More connections than there is room for: the report says so, and none is cut before its time.
fn forgotten_connections_are_counted() {
    let ((near, _far), target) = (NetNs::joined(), Cgroup::new("target"));
    let kchaos = Kchaos::inject(&near, "reset", &target, &["--after", "50s"]);
    let mut child = helper(&near, &target, &["call-each"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for address in ["10.99.0.2", "[fd99::2]"] {
        for port in 1..=36_000 {
            writeln!(input, "tcp-connect {address}:{port}").unwrap();
        }
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    let ended = kchaos.stop();
    assert_eq!(0, ended.count(0, "injected"), "{ended:?}");
    let notes = ended.json()["notes"].to_string();
    assert!(notes.contains("connections were forgotten"), "{notes}");
}

/// The connection that had it before has nothing to do with it, even where only answers are seen.
fn a_port_that_is_used_again() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _near_server = Server::start(&near, &target, "7491");
    let _far_server = Server::start(&far, &other, "7492");
    for (direction, client, at) in [
        ("egress", (&far, &other), "10.99.0.1:7491"),
        ("egress", (&far, &other), "[fd99::1]:7491"),
        ("ingress", (&near, &target), "10.99.0.2:7492"),
        ("ingress", (&near, &target), "[fd99::2]:7492"),
    ] {
        for after in ["1MiB", "500ms"] {
            let flags = ["--after", after, "--direction", direction];
            let kchaos = Kchaos::inject(&near, "reset", &target, &flags);
            for _ in 0..8 {
                // A new one begins with a number some megabytes on.
                let made = calls(client.0, client.1, &["connect-from", at, "29999", "1"]);
                assert_eq!(1, made.ok, "{at} {direction} {after}: {made:?}");
                thread::sleep(Duration::from_millis(150));
            }
            assert_eq!(0, kchaos.stop().count(0, "injected"), "{at} {direction} {after}");
        }
    }
}

/// A probe is one byte behind what its receiver expects, and shows a connection like any other packet.
fn probes_are_packets_too() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    for at in ["10.99.0.2:7495", "[fd99::2]:7496"] {
        let mut ends = Ends::probed((&near, &target), (&far, &other), at.parse().unwrap());
        let kchaos = Kchaos::inject(&near, "reset", &target, &[]);
        let errnos = [ends.client.ended().errno, ends.server.ended().errno];
        assert_eq!([libc::ECONNRESET; 2], errnos, "{at}");
        assert_eq!(1, kchaos.stop().count(0, "injected"), "{at}");
    }
}
