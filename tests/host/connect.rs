//! `connect`: every way to connect, both families, any errno.

use std::net::TcpListener;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    suite::{an_errno, facts},
    traffic::calls,
};

kchaos_tests::tests! {
    needs(CgroupConnect): eperm_on_every_way, only_what_is_named;
    needs(full CgroupConnect): any_errno_on_every_way;
}

const ERRNOS: [(&str, i32); 8] = [
    ("ECONNREFUSED", libc::ECONNREFUSED),
    ("ETIMEDOUT", libc::ETIMEDOUT),
    ("EHOSTUNREACH", libc::EHOSTUNREACH),
    ("ENETDOWN", libc::ENETDOWN),
    ("EACCES", libc::EACCES),
    ("EIO", libc::EIO),
    ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
    ("EHWPOISON", 133),
];

/// The ways to reach a port: the helper's verb, and its address.
fn ways(port: u16) -> Vec<(&'static str, String)> {
    ["connect", "udp-connect", "udp-send"]
        .into_iter()
        .flat_map(|verb| {
            let addresses =
                [format!("127.0.0.1:{port}"), format!("[::1]:{port}"), format!("[::ffff:127.0.0.1]:{port}")];
            addresses.into_iter().map(move |to| (verb, to))
        })
        .collect()
}

fn eperm_on_every_way() {
    on_every_way(&[("EPERM", libc::EPERM)]);
}

fn any_errno_on_every_way() {
    on_every_way(&ERRNOS);
}

fn on_every_way(errnos: &[(&str, i32)]) {
    let ns = NetNs::new();
    let cgroup = Cgroup::new("client");
    let listener = ns.enter(|| TcpListener::bind("[::]:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    for (name, number) in errnos {
        let peer = format!(":{port}");
        let kchaos = Kchaos::inject(&ns, "connect", &cgroup, &["--errno", name, "--peer", &peer]);
        for (verb, to) in ways(port) {
            let got = calls(&ns, &cgroup, &[verb, &to, "3"]);
            assert_eq!(Some(&3), got.failed.get(number), "{name} {verb} {to}: {got:?}");
            assert_eq!(0, got.ok, "{name} {verb} {to}: {got:?}");
        }
        let ended = kchaos.stop();
        assert_eq!(27, ended.count(0, "matched"), "{name}: {ended:?}");
        assert_eq!(27, ended.count(0, "injected"), "{name}: {ended:?}");
    }
}

/// Everything that the fault does not name goes through.
fn only_what_is_named() {
    let ns = NetNs::new();
    let cgroup = Cgroup::new("client");
    let listener = ns.enter(|| TcpListener::bind("[::]:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let (v4, v6, mapped) =
        (format!("127.0.0.1:{port}"), format!("[::1]:{port}"), format!("[::ffff:127.0.0.1]:{port}"));
    let other = (port ^ 1).to_string();
    let (errno, number) = an_errno();
    let hit_by = |flags: &[&str], verb: &str, to: &str| {
        let mut words =
            vec!["inject", "connect", "--for", "60s", "--cgroup", cgroup.name(), "--errno", errno];
        words.extend(flags);
        let kchaos = Kchaos::start(&ns, &words);
        let got = calls(&ns, &cgroup, &[verb, to, "1"]);
        let ended = kchaos.stop();
        let hit = got.failed.get(&number) == Some(&1);
        assert_eq!(u64::from(hit), ended.count(0, "injected"));
        hit
    };
    assert!(hit_by(&["--peer", "127.0.0.0/8"], "connect", &v4));
    assert!(hit_by(&["--peer", "127.0.0.0/8"], "connect", &mapped), "an IPv4-mapped address is IPv4");
    assert!(!hit_by(&["--peer", "127.0.0.0/8"], "connect", &v6));
    assert!(hit_by(&["--peer", "::1"], "connect", &v6));
    assert!(!hit_by(&["--peer", "::1"], "connect", &v4));
    assert!(!hit_by(&["--peer", "::/0"], "connect", &mapped), "an IPv4-mapped address is not IPv6");
    assert!(!hit_by(&["--peer", &format!(":{other}")], "connect", &v4));
    assert!(hit_by(&["--peer", &format!(":{}-{}", port - 1, port)], "connect", &v4));
    assert!(!hit_by(&["--exclude", "127.0.0.1"], "connect", &v4));
    assert!(hit_by(&["--exclude", "127.0.0.1"], "connect", &v6));
    assert!(!hit_by(&["--protocol", "udp"], "connect", &v4));
    assert!(hit_by(&["--protocol", "udp"], "udp-connect", &v4));
    assert!(hit_by(&["--protocol", "udp"], "udp-send", &v6));
    assert!(!hit_by(&["--protocol", "tcp"], "udp-send", &v6));
    if facts().guest {
        std::fs::write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n").unwrap();
    }
    assert!(hit_by(&["--peer", "localhost"], "connect", &v4), "a name, by its IPv4 address");
    assert!(hit_by(&["--peer", "localhost"], "connect", &v6), "a name, by its IPv6 address");
    assert!(!hit_by(&["--probability", "0%"], "connect", &v4));
    assert!(!hit_by(&["--shadow"], "connect", &v4));
}
