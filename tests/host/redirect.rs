//! `connect` with `redirect`: calls reach another server than the one that they name, and nobody else's do.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    kchaos::Ended,
    scaled,
    traffic::{Sink, calls, helper},
    wait_for,
};

kchaos_tests::tests! {
    needs(CgroupConnect): every_way_leads_elsewhere;
    needs(spread, CgroupConnect): a_port_or_an_address_alone, the_other_family_goes_on,
        only_what_is_named, a_share_of_the_sends, no_later_rule_is_asked, not_to_what_is_protected,
        as_on_an_old_kernel;
    needs(spread, CgroupConnect, TcEgress): packets_have_the_new_address;
}

const ASKED: u16 = 7001;
const OTHER: u16 = 7002;
const WAYS: [&str; 3] = ["connect", "udp-connect", "udp-send"];
const V4: &str = "127.0.0.1";
const V6: &str = "[::1]";
const MAPPED: &str = "[::ffff:127.0.0.1]";

/// The kernel asks about each send on a UDP socket that is connected to an IPv4-mapped address, as if it named that
/// address: those of [`reach`] that are then a match, as they have gone to an address that is one.
const MAPPED_SENDS: u64 = 3;

/// Servers on two addresses of each family, each with two ports, that tell who they are.
fn servers() -> NetNs {
    let ns = NetNs::new();
    ns.ip("addr add fd00::2/128 dev lo nodad");
    for address in ["127.0.0.1", "127.0.0.2", "::1", "fd00::2"] {
        for port in [ASKED, OTHER] {
            serve(&ns, SocketAddr::new(address.parse().unwrap(), port));
        }
    }
    ns
}

/// Answers with its own address, for as long as the tests run.
fn serve(ns: &NetNs, at: SocketAddr) {
    let (tcp, udp) = ns.enter(|| (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
    thread::spawn(move || {
        while let Ok((mut connection, _)) = tcp.accept() {
            let _gone = connection.write_all(at.to_string().as_bytes());
        }
    });
    thread::spawn(move || {
        while let Ok((_, from)) = udp.recv_from(&mut [0; 64]) {
            let _gone = udp.send_to(at.to_string().as_bytes(), from);
        }
    });
}

/// Whom three calls reach, which must be the same: by the socket, and by what the server says.
fn reach(ns: &NetNs, cgroup: &Cgroup, how: &str, to: &str) -> (SocketAddr, SocketAddr) {
    let output = helper(ns, cgroup, &["reach", how, to, "3"]).output().unwrap();
    assert!(output.status.success(), "{how} {to}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 3 && lines.iter().all(|line| *line == lines[0]), "{how} {to}: {text}");
    let (peer, server) = lines[0].split_once(' ').unwrap_or_else(|| panic!("{how} {to}: {text}"));
    (peer.parse().unwrap(), server.parse().unwrap())
}

/// Expects the calls at a server, and the socket to know that server's address.
fn assert_reaches(ns: &NetNs, cgroup: &Cgroup, how: &str, to: &str, server: &str) {
    let server: SocketAddr = server.parse().unwrap();
    let (peer, said) = reach(ns, cgroup, how, to);
    assert_eq!(server, said, "{how} {to}");
    assert_eq!((server.ip(), server.port()), (peer.ip().to_canonical(), peer.port()), "{how} {to}");
    let mapped = matches!(peer.ip(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    assert_eq!(to.starts_with("[::ffff:"), mapped, "{how} {to} keeps its form: {peer}");
}

fn fault(fields: &str) -> String {
    format!("kind = \"connect\"\n{}", fields.replace("; ", "\n"))
}

fn counts(ended: &Ended, fault: usize) -> (u64, u64) {
    ended.assert_books(fault);
    (ended.count(fault, "matched"), ended.count(fault, "injected"))
}

fn every_way_leads_elsewhere() {
    let (ns, cgroup, neighbour) = (servers(), Cgroup::new("client"), Cgroup::new("neighbour"));
    let fields = format!(r#"redirect = ["127.0.0.2:{OTHER}", "[fd00::2]:{OTHER}"]; peer = ":{ASKED}""#);
    let kchaos = Kchaos::run(&ns, &cgroup, &[fault(&fields)]);
    let there = [(V4, "127.0.0.2"), (V6, "[fd00::2]"), (MAPPED, "127.0.0.2")];
    for how in WAYS {
        for (from, server) in there {
            let to = format!("{from}:{ASKED}");
            assert_reaches(&ns, &cgroup, how, &to, &format!("{server}:{OTHER}"));
            let own = if from == MAPPED { V4 } else { from };
            assert_reaches(&ns, &neighbour, how, &to, &format!("{own}:{ASKED}"));
        }
    }
    let ended = kchaos.stop();
    assert_eq!((27, 27), counts(&ended, 0), "{ended:?}");
    assert!(
        ended.stdout.contains(&format!("send connects to 127.0.0.2:{OTHER} or [fd00::2]:{OTHER}")),
        "{ended:?}"
    );
    // It is over.
    for how in WAYS {
        assert_reaches(&ns, &cgroup, how, &format!("{V4}:{ASKED}"), &format!("{V4}:{ASKED}"));
        assert_reaches(&ns, &cgroup, how, &format!("{V6}:{ASKED}"), &format!("{V6}:{ASKED}"));
    }
}

fn a_port_or_an_address_alone() {
    let (ns, cgroup) = (servers(), Cgroup::new("client"));
    for (redirect, v4, v6) in [
        (format!(r#"":{OTHER}""#), format!("{V4}:{OTHER}"), format!("{V6}:{OTHER}")),
        (
            r#"["127.0.0.2", "fd00::2"]"#.to_owned(),
            format!("127.0.0.2:{ASKED}"),
            format!("[fd00::2]:{ASKED}"),
        ),
    ] {
        let kchaos =
            Kchaos::run(&ns, &cgroup, &[fault(&format!(r#"redirect = {redirect}; peer = ":{ASKED}""#))]);
        for how in WAYS {
            for (from, server) in [(V4, &v4), (V6, &v6), (MAPPED, &v4)] {
                assert_reaches(&ns, &cgroup, how, &format!("{from}:{ASKED}"), server);
            }
        }
        let ended = kchaos.stop();
        let again = if redirect.starts_with('[') { MAPPED_SENDS } else { 0 };
        assert_eq!((27 + again, 27 + again), counts(&ended, 0), "{redirect}: {ended:?}");
    }
}

/// They are counted as `failed`, and no later rule is asked.
fn the_other_family_goes_on() {
    let (ns, cgroup) = (servers(), Cgroup::new("client"));
    let v4 = [format!("127.0.0.2:{OTHER}"), format!("{V6}:{ASKED}"), format!("127.0.0.2:{OTHER}")];
    let v6 = [format!("{V4}:{ASKED}"), format!("[fd00::2]:{OTHER}"), format!("{V4}:{ASKED}")];
    for (redirect, there, failed) in [("127.0.0.2", v4, 9), ("[fd00::2]", v6, 18 + MAPPED_SENDS)] {
        let fields = format!(r#"redirect = "{redirect}:{OTHER}"; peer = ":{ASKED}""#);
        let later = fault(&format!(r#"errno = "EPERM"; peer = ":{ASKED}""#));
        let kchaos = Kchaos::run(&ns, &cgroup, &[fault(&fields), later]);
        for how in WAYS {
            for (from, server) in [V4, V6, MAPPED].iter().zip(&there) {
                assert_reaches(&ns, &cgroup, how, &format!("{from}:{ASKED}"), server);
            }
        }
        let ended = kchaos.stop();
        let matched = if redirect == "127.0.0.2" { 27 } else { 27 + MAPPED_SENDS };
        assert_eq!((matched, matched - failed), counts(&ended, 0), "{redirect}: {ended:?}");
        assert_eq!(failed, ended.skipped(0, "failed"), "{redirect}: {ended:?}");
        assert_eq!((0, 0), counts(&ended, 1), "{redirect}: {ended:?}");
    }
}

/// Conditions are held against the address that the call names.
fn only_what_is_named() {
    let (ns, cgroup) = (servers(), Cgroup::new("client"));
    for (fields, how, from, hit) in [
        (r#"peer = "127.0.0.0/8:ASKED""#, "connect", V4, true),
        (r#"peer = "127.0.0.0/8:ASKED""#, "connect", MAPPED, true),
        (r#"peer = "127.0.0.2""#, "connect", V4, false),
        (r#"peer = ":OTHER""#, "connect", V4, false),
        (r#"peer = ":OTHER""#, "udp-send", V6, false),
        (r#"peer = "[::1]:ASKED""#, "udp-send", V6, true),
        (r#"peer = "[::1]:ASKED""#, "connect", MAPPED, false),
        (r#"peer = ":ASKED"; exclude = "127.0.0.1""#, "connect", V4, false),
        (r#"peer = ":ASKED"; exclude = "127.0.0.2""#, "connect", V4, true),
        (r#"protocol = "udp""#, "connect", V4, false),
        (r#"protocol = "udp""#, "udp-send", MAPPED, true),
        (r#"protocol = "tcp""#, "connect", V6, true),
        (r#"probability = "0%""#, "connect", V4, false),
        (r#"start_after = "1m""#, "connect", V4, false),
    ] {
        let fields = fields.replace("ASKED", &ASKED.to_string()).replace("OTHER", &OTHER.to_string());
        let fields = format!(r#"redirect = ["127.0.0.2:{OTHER}", "[fd00::2]:{OTHER}"]; {fields}"#);
        let kchaos = Kchaos::run(&ns, &cgroup, &[fault(&fields)]);
        let (_, server) = reach(&ns, &cgroup, how, &format!("{from}:{ASKED}"));
        let ended = kchaos.stop();
        assert_eq!(if hit { OTHER } else { ASKED }, server.port(), "{fields}: {how} {from}: {ended:?}");
        assert_eq!(if hit { 3 } else { 0 }, counts(&ended, 0).1, "{fields}: {how} {from}: {ended:?}");
    }
    let kchaos = Kchaos::inject(&ns, "connect", &cgroup, &["--redirect", "127.0.0.2", "--shadow"]);
    assert_reaches(&ns, &cgroup, "connect", &format!("{V4}:{ASKED}"), &format!("{V4}:{ASKED}"));
    let ended = kchaos.stop();
    assert_eq!((3, 0), counts(&ended, 0), "shadow mode: {ended:?}");
}

/// What is counted as injected is what arrives elsewhere, packet by packet; `limit` ends it.
fn a_share_of_the_sends() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("client"));
    let count = scaled(2_000);
    for address in ["127.0.0.1", "::1"] {
        for (chosen, limit) in [("probability = \"30%\"", None), ("limit = 7", Some(7))] {
            let [asked, other] = [(); 2].map(|()| Sink::new(&ns, address.parse().unwrap()));
            let fields = format!(r#"redirect = "{}"; peer = "{}"; {chosen}"#, other.address, asked.address);
            let kchaos = Kchaos::run(&ns, &cgroup, &[fault(&fields)]);
            // Slowly enough for who receives.
            let words = ["udp-send", &asked.address.to_string(), &count.to_string(), "1", "20"];
            assert_eq!(count, calls(&ns, &cgroup, &words).ok);
            wait_for("all packets arrive", Duration::from_secs(5), || {
                (asked.count() + other.count()) as u64 == count
            });
            let ended = kchaos.stop();
            assert_eq!((count, other.count() as u64), counts(&ended, 0), "{chosen} {address}: {ended:?}");
            match limit {
                None => assert_share(address, 0.3, other.count() as u64, count),
                Some(limit) => assert_eq!(limit, other.count(), "{address}"),
            }
        }
    }
}

/// A call that goes elsewhere is done with; one that is spared is asked again.
fn no_later_rule_is_asked() {
    let (ns, cgroup) = (servers(), Cgroup::new("client"));
    let count = scaled(1_000);
    let (first, second) = (fault("redirect = \":7002\"; probability = \"50%\""), fault("errno = \"EPERM\""));
    let kchaos = Kchaos::run(&ns, &cgroup, &[first, second.clone()]);
    let got = calls(&ns, &cgroup, &["connect", &format!("{V4}:{ASKED}"), &count.to_string()]);
    let ended = kchaos.stop();
    let (matched, sent_on) = counts(&ended, 0);
    assert_eq!((count, got.ok), (matched, sent_on), "{got:?} {ended:?}");
    assert_eq!((count - sent_on, count - sent_on), counts(&ended, 1), "{ended:?}");
    assert_share("sent on", 0.5, sent_on, count);

    // The other way round nothing is left to be sent on.
    let kchaos = Kchaos::run(&ns, &cgroup, &[second, fault("redirect = \":7002\"")]);
    let got = calls(&ns, &cgroup, &["connect", &format!("{V4}:{ASKED}"), "5"]);
    let ended = kchaos.stop();
    assert_eq!((Some(&5), (0, 0)), (got.failed.get(&libc::EPERM), counts(&ended, 1)), "{ended:?}");
}

/// Faults of packets see where a call has gone.
fn packets_have_the_new_address() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("client"));
    for address in ["127.0.0.1", "::1"] {
        let [asked, other] = [(); 2].map(|()| Sink::new(&ns, address.parse().unwrap()));
        let (from, to) = (asked.address, other.address);
        let drop = |peer: SocketAddr| format!("kind = \"drop\"\npeer = \"{peer}\"");
        let sent_on = fault(&format!(r#"redirect = "{to}"; peer = "{from}""#));
        let kchaos = Kchaos::run(&ns, &cgroup, &[drop(from), drop(to), sent_on]);
        assert_eq!(10, calls(&ns, &cgroup, &["udp-send", &from.to_string(), "10"]).ok);
        let ended = kchaos.stop();
        assert_eq!((0, 0), counts(&ended, 0), "{address}: {ended:?}");
        assert_eq!((10, 10), counts(&ended, 1), "{address}: {ended:?}");
        assert_eq!((10, 10), counts(&ended, 2), "{address}: {ended:?}");
        assert_eq!((0, 0), (asked.count(), other.count()));
    }
}

/// Neither the clouds' metadata services nor what kchaos itself serves, unless the file says so.
fn not_to_what_is_protected() {
    let (ns, cgroup) = (servers(), Cgroup::new("client"));
    let own = format!("{V4}:7003");
    let start = |flags: &[&str]| {
        let words = ["inject", "connect", "--for", "60s", "--cgroup", cgroup.name(), "--metrics", &own];
        Kchaos::spawn(&[&words[..], flags].concat(), |command: &mut Command| ns.place(command))
    };
    for (to, peer, what) in [
        ("169.254.169.254:80", ":7001", "metadata"),
        ("[fd00:ec2::254]:80", ":7001", "metadata"),
        ("127.0.0.1:7003", ":7001", "kchaos itself listens on"),
        (":7003", ":7001", "kchaos itself listens on"),
        ("127.0.0.1", ":7000-7010", "kchaos itself listens on"),
    ] {
        let refused = start(&["--redirect", to, "--peer", peer]).wait();
        assert_eq!(Some(2), refused.code, "{to}: {refused:?}");
        assert!(
            refused.stderr.contains(what) && refused.stderr.contains("allow_protected"),
            "{to}: {refused:?}"
        );
    }
    // Another host's port of that number, another port of this host, and what the file allows.
    for flags in [
        &["--redirect", "192.0.2.7:7003"][..],
        &["--redirect", "127.0.0.1", "--peer", ":7001"],
        &["--redirect", "127.0.0.1:7003", "--allow-protected"],
    ] {
        let words = ["inject", "connect", "--for", "60s", "--cgroup", cgroup.name(), "--metrics", &own];
        let ended = Kchaos::start(&ns, &[&words[..], flags].concat()).stop();
        assert_eq!(Some(3), ended.code, "ended by hand: {flags:?}: {ended:?}");
    }
    // And a call to a protected far end is not sent elsewhere.
    ns.ip("addr add 169.254.169.254/32 dev lo");
    serve(&ns, "169.254.169.254:80".parse().unwrap());
    let kchaos = Kchaos::inject(&ns, "connect", &cgroup, &["--redirect", "127.0.0.2:7002"]);
    assert_reaches(&ns, &cgroup, "connect", "169.254.169.254:80", "169.254.169.254:80");
    let ended = kchaos.stop();
    assert_eq!(((3, 0), 3), (counts(&ended, 0), ended.skipped(0, "protected")), "{ended:?}");
}

/// Where programs cannot choose an errno, calls can be sent elsewhere all the same; tried on every kernel.
fn as_on_an_old_kernel() {
    let (ns, cgroup) = (servers(), Cgroup::new("client"));
    let words = ["inject", "connect", "--for", "60s", "--cgroup", cgroup.name(), "--redirect", ":7002"];
    let kchaos = Kchaos::start_with(&words, |command| {
        command.env("KCHAOS_TEST_WAYS", "eperm");
        ns.place(command);
    });
    for how in WAYS {
        for (from, server) in [(V4, V4), (V6, V6), (MAPPED, V4)] {
            assert_reaches(&ns, &cgroup, how, &format!("{from}:{ASKED}"), &format!("{server}:{OTHER}"));
        }
    }
    let ended = kchaos.stop();
    let asked = 27 + MAPPED_SENDS;
    assert_eq!((asked, asked), counts(&ended, 0), "{ended:?}");
}
