//! Packets that look as if they were for the target and are not, or not only: forwarded ones, translated ones, those for a
//! group. All of them must get where they were going, whatever is done to those that arrive for the target.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    traffic::{Server, Sink, calls},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(spread, DelayLine, TcIngress): forwarded, for_a_group, in_pieces;
    needs(services, DelayLine, TcIngress): translated_on_arrival;
    needs(services, DelayLine, TcEgress, TcIngress): redirected_on_lo;
}

/// The same number on the router and behind it, so that the router has a socket for it.
const PORT: &str = "7320";
const DELAY: &[&str] = &["--delay", "150ms", "--direction", "ingress"];

/// A client, a router, and a host behind it (10.98.0.2 and `fd98::2`).
fn routed() -> [NetNs; 3] {
    let (client, router) = NetNs::joined();
    let host = NetNs::new();
    router.ip(&format!("link add out type veth peer name in netns {}", host.path()));
    for (ns, device, v4, v6) in
        [(&router, "out", "10.98.0.1/24", "fd98::1/64"), (&host, "in", "10.98.0.2/24", "fd98::2/64")]
    {
        ns.ip(&format!("link set {device} addrgenmode none"));
        ns.ip(&format!("addr add {v4} dev {device}"));
        ns.ip(&format!("addr add {v6} dev {device} nodad"));
        ns.ip(&format!("link set {device} up"));
    }
    for (ns, gateway, gateway6) in [(&client, "10.99.0.2", "fd99::2"), (&host, "10.98.0.1", "fd98::1")] {
        ns.ip(&format!("route add default via {gateway}"));
        ns.ip(&format!("-6 route add default via {gateway6}"));
    }
    // It asks for its neighbours under these.
    for device in ["far", "out"] {
        router.ip(&format!("addr add fe80::1/64 dev {device} nodad"));
    }
    router.enter(|| {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
        }
    });
    for address in ["10.98.0.2", "fd98::2"] {
        let knows = || {
            client
                .enter(|| std::net::TcpStream::connect((address.parse::<IpAddr>().unwrap(), 1)))
                .is_err_and(|e| e.raw_os_error() == Some(libc::ECONNREFUSED))
        };
        wait_for("the way is known", Duration::from_secs(10), knows);
    }
    [client, router, host]
}

/// Echoes of both protocols from `address`, all of which must come back.
fn assert_answered(client: &NetNs, address: &str, port: &str, when: &str) {
    let (to, cgroup) = (format!("{address}:{port}"), Cgroup::new("client"));
    for protocol in ["udp-echo", "tcp-echo"] {
        assert_eq!(5, calls(client, &cgroup, &[protocol, &to, "5"]).ok, "{protocol} {to} {when}");
    }
}

fn forwarded() {
    let ([client, router, host], target, other) = (routed(), Cgroup::new("target"), Cgroup::new("other"));
    let _servers = [Server::start(&router, &target, PORT), Server::start(&host, &other, PORT)];
    let kchaos = Kchaos::inject(&router, "delay", &target, DELAY);
    let addresses = ["10.98.0.2", "[fd98::2]"];
    for address in addresses {
        assert_answered(&client, address, PORT, "while packets are delayed");
    }
    // The router's own, so that it is known that something was done.
    assert_answered(&client, "10.99.0.2", PORT, "of the router");
    kchaos.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(2_100));
    for address in addresses {
        assert_answered(&client, address, PORT, "when the lease is over");
    }
    kchaos.signal(Signal::SIGCONT);
    let ended = kchaos.stop();
    assert!(ended.count(0, "injected") > 10, "{ended:?}");
    ended.assert_books(0);
}

/// One server of two that are in the group is the target: the group's packets are not for a single socket, and both get
/// them.
fn for_a_group() {
    let ((near, far), target, other) = (NetNs::joined(), Cgroup::new("target"), Cgroup::new("other"));
    near.ip("route add 239.0.0.0/8 dev near");
    far.ip("route add 239.0.0.0/8 dev far");
    for group in ["239.7.7.7", "ff15::7"] {
        let _servers = [(&target, "7321"), (&other, "7322")]
            .map(|(cgroup, port)| Server::start_with(&far, cgroup, &[port, group]));
        let kchaos = Kchaos::inject(&far, "delay", &target, DELAY);
        let sender = Cgroup::new("sender");
        for port in [7321, 7322] {
            let to = SocketAddr::new(group.parse().unwrap(), port).to_string();
            assert_eq!(5, calls(&near, &sender, &["udp-echo", &to, "5"]).ok, "{to}");
        }
        kchaos.stop().assert_books(0);
    }
}

/// Datagrams that come in two pieces each: they are put together only behind where packets wait. Were the first piece
/// held back alone, the kernel would give up on those that come close behind each other.
fn in_pieces() {
    let ((near, far), target) = (NetNs::joined(), Cgroup::new("target"));
    let _server = Server::start(&far, &target, "7326");
    let kchaos = Kchaos::inject(&far, "delay", &target, DELAY);
    for (source, address) in [("10.99.0.1", "10.99.0.2"), ("fd99::1", "fd99::2")] {
        let sink = Sink::new(&near, source.parse().unwrap());
        sink.ask(SocketAddr::new(address.parse().unwrap(), 7326), 100, 1800, Duration::from_millis(1));
        wait_for("all come back", Duration::from_secs(5), || sink.count() == 100);
    }
    let ended = kchaos.stop();
    assert_eq!((0, 400), (ended.count(0, "matched"), ended.count(0, "unattributed")), "{ended:?}");
}

/// What a client sends to the router is for the host behind it: the router's own server on that port is not asked.
fn translated_on_arrival() {
    let ([client, router, host], target, other) = (routed(), Cgroup::new("target"), Cgroup::new("other"));
    let _servers = [Server::start(&router, &target, "7323"), Server::start(&host, &other, PORT)];
    router.nft(
        "add table inet t
         add chain inet t pre { type nat hook prerouting priority -100; }
         add rule inet t pre meta nfproto ipv4 meta l4proto { tcp, udp } th dport 7323 dnat ip to 10.98.0.2:7320
         add rule inet t pre meta nfproto ipv6 meta l4proto { tcp, udp } th dport 7323 dnat ip6 to [fd98::2]:7320",
    );
    let kchaos = Kchaos::inject(&router, "delay", &target, DELAY);
    for address in ["10.99.0.2", "[fd99::2]"] {
        assert_answered(&client, address, "7323", "while packets are delayed");
    }
    kchaos.stop().assert_books(0);
}

/// A proxy beside the client gets its connections without its knowing. The kernel has noted on the packets themselves what
/// was done to them, which would be lost in the line: they go on at once.
fn redirected_on_lo() {
    let (ns, client, proxy) = (NetNs::new(), Cgroup::new("client"), Cgroup::new("proxy"));
    let _server = Server::start(&ns, &proxy, "7324");
    ns.nft(
        "add table inet t
         add chain inet t out { type nat hook output priority -100; }
         add rule inet t out tcp dport 7325 redirect to :7324",
    );
    for (target, direction) in
        [(&client, "egress"), (&client, "ingress"), (&client, "both"), (&proxy, "both")]
    {
        let words = ["--delay", "50ms", "--direction", direction];
        let kchaos = Kchaos::inject(&ns, "delay", target, &words);
        for address in ["127.0.0.1", "[::1]"] {
            let to = format!("{address}:7325");
            assert_eq!(5, calls(&ns, &client, &["tcp-echo", &to, "5"]).ok, "{to} {direction}");
        }
        let ended = kchaos.stop();
        assert!(ended.skipped(0, "failed") > 10, "{ended:?}");
        assert_eq!(0, ended.count(0, "injected"), "{ended:?}");
        ended.assert_books(0);
    }
}
