//! `connect`: every way to connect, both families, any errno.

use std::{fs, net::TcpListener, process::Command};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    suite::{an_errno, facts},
    traffic::calls,
};

kchaos_tests::tests! {
    needs(CgroupConnect): eperm_on_every_way, only_eperm_where_the_kernel_has_no_better_way;
    needs(spread, CgroupConnect): only_what_is_named, as_a_call;
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

const V4: &str = "127.0.0.1";
const V6: &str = "[::1]";
const MAPPED: &str = "[::ffff:127.0.0.1]";

fn eperm_on_every_way() {
    on_every_way(&[("EPERM", libc::EPERM)]);
}

fn any_errno_on_every_way() {
    on_every_way(&ERRNOS);
}

fn listen(ns: &NetNs, port: u16) -> TcpListener {
    ns.enter(|| TcpListener::bind(("::", port)).unwrap())
}

/// One fault for each errno, on a port of its own.
fn on_every_way(errnos: &[(&str, i32)]) {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("client"));
    let listeners: Vec<TcpListener> = errnos.iter().map(|_| listen(&ns, 0)).collect();
    let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
    let fault = |((name, _), port): (&(&str, i32), &u16)| {
        format!("kind = \"connect\"\nerrno = \"{name}\"\npeer = \":{port}\"")
    };
    let faults: Vec<String> = errnos.iter().zip(&ports).map(fault).collect();
    let kchaos = Kchaos::run(&ns, &cgroup, &faults);
    for ((name, number), port) in errnos.iter().zip(&ports) {
        for verb in ["connect", "udp-connect", "udp-send"] {
            for address in [V4, V6, MAPPED] {
                let to = format!("{address}:{port}");
                let got = calls(&ns, &cgroup, &[verb, &to, "3"]);
                assert_eq!(Some(&3), got.failed.get(number), "{name} {verb} {to}: {got:?}");
                assert_eq!(0, got.ok, "{name} {verb} {to}: {got:?}");
            }
        }
    }
    let ended = kchaos.stop();
    for (fault, (name, _)) in errnos.iter().enumerate() {
        assert_eq!(27, ended.count(fault, "matched"), "{name}: {ended:?}");
        assert_eq!(27, ended.count(fault, "injected"), "{name}: {ended:?}");
    }
}

/// `call = "connect"` is the same but for what UDP sends, and needs nothing of the kernel's own functions.
fn as_a_call() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("client"));
    let listener = listen(&ns, 0);
    let port = listener.local_addr().unwrap().port();
    let (name, number) = an_errno();
    let fault = format!("kind = \"call\"\ncall = \"connect\"\nerrno = \"{name}\"\npeer = \":{port}\"");
    let kchaos = Kchaos::run(&ns, &cgroup, &[fault]);
    for (verb, hit) in [("connect", true), ("udp-connect", true), ("udp-send", false)] {
        for address in [V4, V6, MAPPED] {
            let got = calls(&ns, &cgroup, &[verb, &format!("{address}:{port}"), "3"]);
            let failed = got.failed.get(&number).copied().unwrap_or(0);
            assert_eq!(if hit { (0, 3) } else { (3, 0) }, (got.ok, failed), "{verb} {address}: {got:?}");
        }
    }
    let ended = kchaos.stop();
    assert_eq!((18, 18), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
}

/// The fields of a fault, PORT being that of its row; a call to that port; and whether it is hit.
const ROWS: [(&str, &str, &str, bool); 19] = [
    (r#"peer = "127.0.0.0/8:PORT""#, "connect", V4, true),
    // An IPv4-mapped address is IPv4, and not IPv6.
    (r#"peer = "127.0.0.0/8:PORT""#, "connect", MAPPED, true),
    (r#"peer = "127.0.0.0/8:PORT""#, "connect", V6, false),
    (r#"peer = "[::1]:PORT""#, "connect", V6, true),
    (r#"peer = "[::1]:PORT""#, "connect", V4, false),
    (r#"peer = "[::/0]:PORT""#, "connect", MAPPED, false),
    (r#"peer = ":ABOVE""#, "connect", V4, false),
    (r#"peer = ":BELOW-PORT""#, "connect", V4, true),
    (r#"peer = ":PORT", exclude = "127.0.0.1""#, "connect", V4, false),
    (r#"peer = ":PORT", exclude = "127.0.0.1""#, "connect", V6, true),
    (r#"peer = ":PORT", protocol = "udp""#, "connect", V4, false),
    (r#"peer = ":PORT", protocol = "udp""#, "udp-connect", V4, true),
    (r#"peer = ":PORT", protocol = "udp""#, "udp-send", V6, true),
    (r#"peer = ":PORT", protocol = "tcp""#, "udp-send", V6, false),
    (r#"peer = ":PORT", protocol = "tcp""#, "connect", V6, true),
    // A name stands for all its addresses.
    (r#"peer = "localhost:PORT""#, "connect", V4, true),
    (r#"peer = "localhost:PORT""#, "connect", V6, true),
    (r#"peer = ":PORT", probability = "0%""#, "connect", V4, false),
    (r#"peer = ":PORT", start_after = "1m""#, "connect", V4, false),
];

/// Everything that a fault does not name goes through.
fn only_what_is_named() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("client"));
    if facts().guest {
        fs::write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n").unwrap();
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\n").unwrap();
    }
    let (errno, number) = an_errno();
    // Far enough apart for the ports around them.
    let ports: Vec<u16> = (0..).map(|n| 20_000 + 10 * n).take(ROWS.len()).collect();
    let _listeners: Vec<TcpListener> = ports.iter().map(|port| listen(&ns, *port)).collect();
    let mut faults = Vec::new();
    for ((fields, ..), port) in ROWS.iter().zip(&ports) {
        let names = [("PORT", port), ("ABOVE", &(port + 1)), ("BELOW", &(port - 1))];
        let fields =
            names.into_iter().fold((*fields).to_owned(), |f, (name, p)| f.replace(name, &p.to_string()));
        let fields = fields.replace(", ", "\n");
        faults.push(format!("kind = \"connect\"\nerrno = \"{errno}\"\n{fields}"));
    }
    let kchaos = Kchaos::run(&ns, &cgroup, &faults);
    for ((fields, verb, address, expected), port) in ROWS.iter().zip(&ports) {
        let got = calls(&ns, &cgroup, &[verb, &format!("{address}:{port}"), "1"]);
        let hit = got.failed.get(&number) == Some(&1);
        assert_eq!(*expected, hit, "{fields}: {verb} {address}: {got:?}");
        assert_eq!(u64::from(!hit), got.ok, "{fields}: {verb} {address}: {got:?}");
    }
    let ended = kchaos.stop();
    for (fault, (fields, verb, address, expected)) in ROWS.iter().enumerate() {
        assert_eq!(u64::from(*expected), ended.count(fault, "injected"), "{fields}: {verb} {address}");
    }

    let kchaos = Kchaos::inject(&ns, "connect", &cgroup, &["--errno", errno, "--shadow"]);
    let got = calls(&ns, &cgroup, &["connect", &format!("{V4}:{}", ports[0]), "1"]);
    assert_eq!(1, got.ok, "shadow mode: {got:?}");
    let ended = kchaos.stop();
    assert_eq!((1, 0), (ended.count(0, "matched"), ended.count(0, "injected")), "shadow mode: {ended:?}");
}

/// Where programs cannot choose the errno, another than EPERM is refused; tried on every kernel, as if it were old.
fn only_eperm_where_the_kernel_has_no_better_way() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("client"));
    let listener = listen(&ns, 0);
    let port = listener.local_addr().unwrap().port();
    let as_if_old = |command: &mut Command| {
        command.env("KCHAOS_TEST_WAYS", "eperm");
        ns.place(command);
    };
    let words = |errno| ["inject", "connect", "--for", "60s", "--cgroup", cgroup.name(), "--errno", errno];
    let refused = Kchaos::spawn(&words("EIO"), as_if_old).wait();
    assert_eq!(Some(4), refused.code, "{refused:?}");
    assert!(refused.stderr.contains("EPERM"), "{refused:?}");
    let kchaos = Kchaos::start_with(&words("EPERM"), as_if_old);
    for verb in ["connect", "udp-connect", "udp-send"] {
        for address in [V4, V6, MAPPED] {
            let got = calls(&ns, &cgroup, &[verb, &format!("{address}:{port}"), "3"]);
            assert_eq!(Some(&3), got.failed.get(&libc::EPERM), "{verb} {address}: {got:?}");
        }
    }
    let ended = kchaos.stop();
    assert_eq!((27, 27), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    assert!(ended.stderr.contains("EPERM only"), "a second-best way is not taken in silence: {ended:?}");
}
