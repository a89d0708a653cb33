//! `target.command`: a command in a cgroup of its own, from its first instruction to its last.

use std::{net::UdpSocket, time::Duration};

use kchaos_tests::{Kchaos, NetNs, kchaos, kchaos::Ended, kct, kernel, serial, wait_for};
use nix::sys::signal::Signal;

fn kct_path() -> String {
    kct().display().to_string()
}

/// The very first call of the command is already hit, and the experiment ends with it.
#[test]
fn hit_from_the_first_call() {
    let _serial = serial();
    let ns = NetNs::new();
    let socket = ns.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = socket.local_addr().unwrap().to_string();
    for (seconds, kind, extra) in [("30s", "connect", &["--errno", "EHOSTUNREACH"][..]), ("30s", "drop", &[])] {
        let before = kernel::lists(&ns);
        let mut command = kchaos();
        command.args(["inject", kind, "--for", seconds, "--output", "json"]).args(extra);
        command.args(["--", &kct_path(), "udp-send", &to, "20"]);
        ns.place(&mut command);
        let ended = Ended::new(command.output().unwrap());
        assert_eq!(Some(0), ended.code, "{ended:?}");
        assert_eq!((20, 20), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        assert_eq!("command_ended", ended.json()["ended"]["reason"], "{ended:?}");
        // What the command prints does not mix with the result.
        assert!(ended.stderr.contains("\"ok\""), "{ended:?}");
        assert_eq!(before, kernel::lists(&ns));
    }
}

/// At the end of the time box the command ends too, its children included, and its cgroup is gone.
#[test]
fn ends_with_the_time_box() {
    let _serial = serial();
    let ns = NetNs::new();
    let before = kernel::lists(&ns);
    let mark = format!("{}.25", 90_000 + std::process::id() % 9_000);
    let line = format!("trap '' TERM; sleep {mark} & sleep {mark}");
    let ended = kchaos::run(&["inject", "drop", "--for", "500ms", "--", "sh", "-c", &format!("sleep {mark} & sleep {mark}")]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!(0, running(&mark));
    assert_eq!(before, kernel::lists(&ns));
    // One that will not listen is killed.
    let ended = kchaos::run(&["inject", "drop", "--for", "500ms", "--", "sh", "-c", &line]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!(0, running(&mark));
    assert_eq!(before, kernel::lists(&ns));
}

/// A killed kchaos takes the command along; its empty cgroup is removed by the next start or by `kchaos clean`.
#[test]
fn dies_with_a_killed_kchaos() {
    let _serial = serial();
    let ns = NetNs::new();
    let before = kernel::lists(&ns);
    let mark = format!("{}.75", 90_000 + std::process::id() % 9_000);
    let kchaos = Kchaos::start(&["inject", "drop", "--for", "60s", "--", "sleep", &mark]);
    wait_for("the command runs", Duration::from_secs(5), || running(&mark) == 1);
    kchaos.signal(Signal::SIGKILL);
    kchaos.wait();
    wait_for("the command is gone", Duration::from_secs(5), || running(&mark) == 0);
    wait_for("the programs are gone", Duration::from_secs(5), || kernel::our_programs() == 0);
    let cleaned = kchaos::run(&["clean"]);
    assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
    assert!(cleaned.stdout.contains("removed"), "{cleaned:?}");
    assert_eq!(before, kernel::lists(&ns));
}

/// How many processes have this word in their command line, the shell that searches left out.
fn running(mark: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| std::fs::read(e.path().join("cmdline")).ok())
        .filter(|line| line.split(|b| *b == 0).any(|word| word == mark.as_bytes()))
        .count()
}
