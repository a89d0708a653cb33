//! Services behind a translated address (nftables' DNAT, as Docker and kube-proxy make them): a rule that names the service
//! matches, and so does one that names the backend.

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    connection::Ends,
    traffic::{Server, calls},
};

kchaos_tests::tests! {
    needs(services, TcEgress, TcIngress): by_either_address, both_ends_of_a_translated_connection;
    needs(once, services, TcEgress, TcIngress): excluded_by_either_address, another_address_is_another_address,
        on_lo_it_goes_on;
}

/// By family: the service as the application knows it, and where that is.
const SERVICES: [[&str; 2]; 2] = [["10.96.0.10:80", "10.99.0.2:7700"], ["[fd96::10]:80", "[fd99::2]:7700"]];

/// A client's namespace in which services are translated on their way out, and the backend's.
fn cluster() -> (NetNs, NetNs) {
    let (near, far) = NetNs::joined();
    near.ip("route add 10.96.0.0/16 dev near");
    near.ip("-6 route add fd96::/64 dev near");
    near.nft(
        "add table inet t
         add chain inet t out { type nat hook output priority -100; }
         add rule inet t out ip daddr 10.96.0.10 meta l4proto { tcp, udp } th dport 80 dnat ip to 10.99.0.2:7700
         add rule inet t out ip6 daddr fd96::10 meta l4proto { tcp, udp } th dport 80 dnat ip6 to [fd99::2]:7700",
    );
    (near, far)
}

fn by_either_address() {
    let ((near, far), target, other) = (cluster(), Cgroup::new("target"), Cgroup::new("other"));
    let _server = Server::start(&far, &other, "7700");
    for [service, backend] in SERVICES {
        assert_eq!(3, calls(&near, &target, &["udp-ask", service, "3"]).ok, "{service} without a fault");
        for (peer, verbs) in [(service, &["connect"][..]), (backend, &["connect", "udp-ask"])] {
            let kchaos = Kchaos::inject(&near, "reject", &target, &["--peer", peer]);
            for verb in verbs {
                let asked = calls(&near, &target, &[verb, service, "5"]);
                assert_eq!(Some(&5), asked.failed.get(&libc::ECONNREFUSED), "{verb} {peer}: {asked:?}");
            }
            let ended = kchaos.stop();
            let all = 5 * verbs.len() as u64;
            assert_eq!((all, all), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        }
    }
}

/// A socket that is connected to one address and sends to another: the packet is where it is sent, and nowhere else.
fn another_address_is_another_address() {
    let ((near, far), target, other) = (NetNs::joined(), Cgroup::new("target"), Cgroup::new("other"));
    far.ip("addr add 10.99.0.3/24 dev far");
    far.ip("addr add fd99::3/64 dev far nodad");
    let _server = Server::start(&far, &other, "7720");
    for [connected, sent_to] in [["10.99.0.2:7720", "10.99.0.3:7720"], ["[fd99::2]:7720", "[fd99::3]:7720"]] {
        let kchaos = Kchaos::inject(&near, "drop", &target, &["--peer", connected]);
        assert_eq!(5, calls(&near, &target, &["udp-elsewhere", connected, sent_to, "5"]).ok, "{sent_to}");
        assert_eq!(0, kchaos.stop().count(0, "matched"));
    }
}

/// What answers a packet goes back through the translation, to whoever knows the connection by the service's name.
fn both_ends_of_a_translated_connection() {
    let ((near, far), target, other) = (cluster(), Cgroup::new("target"), Cgroup::new("other"));
    for [service, backend] in SERVICES {
        for peer in [service, backend] {
            let (to, at) = (service.parse().unwrap(), backend.parse().unwrap());
            let mut ends = Ends::over((&near, &target), to, (&far, &other), at);
            let kchaos = Kchaos::inject(&near, "reset", &target, &["--peer", peer]);
            ends.client.send(100);
            let errnos = [ends.client.ended().errno, ends.server.ended().errno];
            assert_eq!([libc::ECONNRESET; 2], errnos, "{peer}");
            assert_eq!(1, kchaos.stop().count(0, "injected"), "{peer}");
        }
    }
}

fn excluded_by_either_address() {
    let ((near, far), target, other) = (cluster(), Cgroup::new("target"), Cgroup::new("other"));
    let _server = Server::start(&far, &other, "7700");
    for [service, backend] in SERVICES {
        for excluded in [service, backend] {
            let fault = format!("kind = \"reject\"\nexclude = \"{excluded}\"");
            let kchaos = Kchaos::run(&near, &target, &[fault]);
            assert_eq!(5, calls(&near, &target, &["connect", service, "5"]).ok, "{excluded}");
            assert_eq!(0, kchaos.stop().count(0, "matched"), "{excluded}");
        }
    }
}

/// There is no way back through the translation: it is counted, and nothing is broken.
fn on_lo_it_goes_on() {
    let (ns, client, proxy) = (NetNs::new(), Cgroup::new("client"), Cgroup::new("proxy"));
    let _server = Server::start(&ns, &proxy, "7710");
    ns.nft(
        "add table inet t
         add chain inet t out { type nat hook output priority -100; }
         add rule inet t out tcp dport 7711 redirect to :7710",
    );
    for address in ["127.0.0.1:7711", "[::1]:7711"] {
        for (target, flags) in [(&client, &["--peer", ":7711"][..]), (&proxy, &[])] {
            let kchaos = Kchaos::inject(&ns, "reset", target, flags);
            assert_eq!(5, calls(&ns, &client, &["tcp-echo", address, "5"]).ok, "{address}");
            let ended = kchaos.stop();
            assert!(ended.skipped(0, "failed") > 5, "{ended:?}");
            assert_eq!(0, ended.count(0, "injected"), "{ended:?}");
        }
    }
}
