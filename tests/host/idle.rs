//! `reset` with `idle`: connections over which nothing comes are cut, too, and no others.

use std::{net::SocketAddr, thread, time::Duration};

use kchaos_tests::{Cgroup, Kchaos, NetNs, connection::Ends, slow};

use crate::reset::wires;

kchaos_tests::tests! {
    needs(spread, TcEgress, TcIngress): readers_wake_up;
    needs(once, TcEgress, TcIngress): when_they_are_old, in_shadow_mode_they_are_counted;
}

const MS: u64 = 1_000_000;

/// A reader that waits for ever wakes up within 100 ms; what the rule does not name, and what is nobody's target, does not.
fn readers_wake_up() {
    wires(7460, |near, far, address| {
        let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
        let (inner, at) =
            (target.child("inner"), |more: u16| SocketAddr::new(address.ip(), address.port() + 10 * more));
        let mut idle = Ends::new((near, &inner), (far, &other), address);
        let mut another_port = Ends::new((near, &target), (far, &other), at(1));
        let mut neighbour = Ends::new((near, &other), (far, &other), at(2));
        let peer = format!(":{}", address.port());
        let kchaos = Kchaos::inject(near, "reset", &target, &["--idle", "--peer", &peer]);
        // It cannot be earlier than that.
        let armed = kchaos_tests::boot_ns();
        let (client, server) = (idle.client.ended(), idle.server.ended());
        assert_eq!([libc::ECONNABORTED, libc::ECONNRESET], [client.errno, server.errno], "{address}");
        let latest = client.when.max(server.when);
        assert!(
            latest < armed + 100 * MS * u64::from(slow()),
            "{address}: {} ns",
            latest.saturating_sub(armed)
        );
        // Looked at more than once.
        thread::sleep(Duration::from_millis(1_300));
        assert!(!another_port.client.has_ended() && !neighbour.client.has_ended(), "{address}");
        let ended = kchaos.stop();
        assert_eq!((1, 1), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        drop(another_port.server);
        assert_eq!(0, another_port.client.ended().errno);
    });
}

/// As old as it was seen to be: neither at once nor never.
fn when_they_are_old() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let mut ends = Ends::new((&near, &target), (&far, &other), "[fd99::2]:7485".parse().unwrap());
    let kchaos = Kchaos::inject(&near, "reset", &target, &["--idle", "--after", "1500ms"]);
    let armed = kchaos_tests::boot_ns();
    thread::sleep(Duration::from_millis(700));
    assert!(!ends.client.has_ended());
    let took = ends.client.ended().when - armed;
    assert!((1_200 * MS..5_000 * MS * u64::from(slow())).contains(&took), "after {took} ns");
    assert_eq!(1, kchaos.stop().count(0, "injected"));
}

/// What would be cut is counted once, and lives on.
fn in_shadow_mode_they_are_counted() {
    let (near, far) = NetNs::joined();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let mut ends = Ends::new((&near, &target), (&far, &other), "10.99.0.2:7480".parse().unwrap());
    let kchaos = Kchaos::inject(&near, "reset", &target, &["--idle", "--shadow"]);
    thread::sleep(Duration::from_millis(1_300));
    assert!(!ends.client.has_ended());
    let ended = kchaos.stop();
    assert_eq!((1, 0), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    assert_eq!(1, ended.skipped(0, "shadow"), "{ended:?}");
}
