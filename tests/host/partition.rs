//! `partition`: nothing passes between the target and the peers it names, both ways, and everything else does.

use std::{thread, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    connection::Ends,
    traffic::{Server, Sink, TIMED_OUT, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, TcEgress, CgroupIngress): silently;
    needs(TcEgress, TcIngress): refusing_at_once;
    needs(once, TcEgress, CgroupIngress): a_zone_of_thousands_of_networks;
}

/// The far end has two addresses of each family; the second of each is in the zone that is gone.
fn two_zones() -> (NetNs, NetNs) {
    let (near, far) = NetNs::joined();
    far.ip("addr add 10.98.0.2/24 dev far");
    far.ip("addr add fd98::2/64 dev far nodad");
    near.ip("addr add 10.98.0.1/24 dev near");
    near.ip("addr add fd98::1/64 dev near nodad");
    (near, far)
}

const HERE: [&str; 2] = ["10.99.0.2", "fd99::2"];
const GONE: [&str; 2] = ["10.98.0.2", "fd98::2"];
const ZONE: [&str; 4] = ["--peer", "10.98.0.0/24", "--peer", "fd98::/64"];

fn at(address: &str, port: u16) -> String {
    std::net::SocketAddr::new(address.parse().unwrap(), port).to_string()
}

/// What is sent, what comes, and a connection that was there before.
fn silently() {
    let (near, far) = two_zones();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _server = Server::start(&far, &other, "7600");
    for address in HERE.into_iter().chain(GONE) {
        assert_eq!(3, calls(&near, &target, &["udp-ask", &at(address, 7600), "3"]).ok, "{address} before");
    }
    let mut before = Ends::new((&near, &target), (&far, &other), at(GONE[1], 7601).parse().unwrap());
    let kchaos = Kchaos::inject(&near, "partition", &target, &ZONE);
    for address in HERE {
        assert_eq!(3, calls(&near, &target, &["udp-ask", &at(address, 7600), "3"]).ok, "{address}");
        assert_eq!(3, calls(&near, &target, &["connect", &at(address, 7600), "3"]).ok, "{address}");
    }
    for address in GONE {
        let asked = calls(&near, &target, &["udp-ask", &at(address, 7600), "1"]);
        assert_eq!(Some(&1), asked.failed.get(&TIMED_OUT), "{address}: {asked:?}");
    }
    // The other way: the far end sends first.
    before.server.send(1000);
    thread::sleep(Duration::from_millis(300));
    assert!(!before.server.has_ended() && !before.client.has_ended());
    let ended = kchaos.stop();
    assert!(ended.count(0, "injected") >= 3, "{ended:?}");
    ended.assert_books(0);
    // TCP repairs what was lost as soon as the zone is back.
    drop(before.server);
    assert_eq!(1000, before.client.ended().read);
}

/// Both ends are told, whoever begins.
fn refusing_at_once() {
    let (near, far) = two_zones();
    let (target, other) = (Cgroup::new("target"), Cgroup::new("other"));
    let _far_server = Server::start(&far, &other, "7610");
    let _near_server = Server::start(&near, &target, "7611");
    let flags = [&ZONE[..], &["--behaviour", "reject"]].concat();
    let kchaos = Kchaos::inject(&near, "partition", &target, &flags);
    for (client, here, gone, port) in [
        ((&near, &target), HERE, GONE, 7610),
        ((&far, &other), ["10.99.0.1", "fd99::1"], ["10.98.0.1", "fd98::1"], 7611),
    ] {
        for address in here {
            assert_eq!(3, calls(client.0, client.1, &["udp-ask", &at(address, port), "3"]).ok, "{address}");
            assert_eq!(3, calls(client.0, client.1, &["connect", &at(address, port), "3"]).ok, "{address}");
        }
        for address in gone {
            for verb in ["udp-ask", "connect"] {
                let asked = calls(client.0, client.1, &[verb, &at(address, port), "3"]);
                assert_eq!(Some(&3), asked.failed.get(&libc::ECONNREFUSED), "{verb} {address}: {asked:?}");
            }
        }
    }
    let ended = kchaos.stop();
    assert_eq!(24, ended.count(0, "injected"), "{ended:?}");
    ended.assert_books(0);
}

/// An availability zone as its provider lists it.
fn a_zone_of_thousands_of_networks() {
    let (near, far) = two_zones();
    let target = Cgroup::new("target");
    let mut peers: Vec<String> =
        (0..5_000).map(|i| format!("\"10.{}.{}.0/24\"", i / 250 + 100, i % 250)).collect();
    peers.push("\"10.98.0.0/24\"".into());
    peers.push("\"fd98::/64\"".into());
    let sinks: Vec<Sink> =
        HERE.into_iter().chain(GONE).map(|address| Sink::new(&far, address.parse().unwrap())).collect();
    let fault = format!("kind = \"partition\"\npeer = [{}]", peers.join(", "));
    let kchaos = Kchaos::run(&near, &target, &[fault]);
    for sink in &sinks {
        assert_eq!(20, calls(&near, &target, &["udp-send", &sink.address.to_string(), "20"]).ok);
    }
    wait_for("the others arrive", Duration::from_secs(5), || {
        sinks[..2].iter().all(|sink| sink.count() == 20)
    });
    let ended = kchaos.stop();
    assert_eq!((40, 40), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    assert_eq!([0, 0], [sinks[2].count(), sinks[3].count()]);
}
