//! `target.command`: a command in a cgroup of its own, from its first instruction to its last.

use std::{net::UdpSocket, time::Duration};

use kchaos_tests::{Kchaos, NetNs, kchaos, kct, kernel, serial, wait_for};

/// The very first call of the command is already hit, and the experiment ends with it.
#[test]
fn hit_from_the_first_call() {
    let _serial = serial();
    let ns = NetNs::new();
    let socket = ns.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = socket.local_addr().unwrap().to_string();
    let kct = kct().display().to_string();
    for (seconds, kind, extra) in [("30s", "connect", &["--errno", "EHOSTUNREACH"][..]), ("30s", "drop", &[])]
    {
        let words =
            [&["inject", kind, "--for", seconds][..], extra, &["--", &kct, "udp-send", &to, "20"]].concat();
        // Many times: a command that is hit a moment too late is missed only now and then.
        for _ in 0..9 {
            let ended = Kchaos::spawn(&words, |command| ns.place(command)).wait();
            assert_eq!((20, 20), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        }
        let kchaos = Kchaos::spawn(&words, |command| ns.place(command));
        let pid = kchaos.pid();
        let ended = kchaos.wait();
        assert_eq!(Some(0), ended.code, "{ended:?}");
        assert_eq!((20, 20), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        assert_eq!("command_ended", ended.json()["ended"]["reason"], "{ended:?}");
        // What the command prints does not mix with the result.
        assert!(ended.stderr.contains("\"ok\""), "{ended:?}");
        assert!(kernel::cgroups_of(pid).is_empty());
    }
}

/// At the end of the time box the command ends too, its children included, and its cgroup is gone.
#[test]
fn ends_with_the_time_box() {
    let _serial = serial();
    let ns = NetNs::new();
    let mark = format!("{}.25", 90_000 + std::process::id() % 9_000);
    // One that obeys SIGTERM and leaves a child behind, and one that does not obey.
    for line in [format!("sleep {mark} & sleep {mark}"), format!("trap '' TERM; sleep {mark} & sleep {mark}")]
    {
        let words = ["inject", "drop", "--for", "500ms", "--", "sh", "-c", &line];
        let kchaos = Kchaos::spawn(&words, |command| ns.place(command));
        let pid = kchaos.pid();
        let ended = kchaos.wait();
        assert_eq!(Some(0), ended.code, "{ended:?}");
        assert_eq!(0, running(&mark), "{line}");
        assert!(kernel::cgroups_of(pid).is_empty(), "{line}");
    }
}

/// A killed kchaos takes the command along; what that had started, and its cgroup, go with the next start or with
/// `kchaos clean`.
#[test]
fn dies_with_a_killed_kchaos() {
    let _serial = serial();
    let ns = NetNs::new();
    let mark = format!("{}.75", 90_000 + std::process::id() % 9_000);
    let line = format!("sleep {mark} & sleep {mark} & wait");
    let kchaos = Kchaos::start(&ns, &["inject", "drop", "--for", "60s", "--", "sh", "-c", &line]);
    wait_for("the command's children run", Duration::from_secs(5), || running(&mark) == 2);
    let (pid, held) = (kchaos.pid(), kchaos.held());
    // Not `wait`, which reads its output to the end: the orphans hold its standard error open.
    drop(kchaos);
    wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
    let cleaned = kchaos::run(&["clean"]);
    assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
    assert!(kernel::cgroups_of(pid).is_empty());
    assert_eq!(0, running(&mark));
}

/// How many processes have this word in their command line.
fn running(mark: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| std::fs::read(e.path().join("cmdline")).ok())
        .filter(|line| line.split(|b| *b == 0).any(|word| word == mark.as_bytes()))
        .count()
}
