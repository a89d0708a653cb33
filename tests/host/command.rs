//! `target.command`: a command in a cgroup of its own, from its first instruction to its last.

use std::{net::UdpSocket, os::unix::process::CommandExt, time::Duration};

use nix::sys::resource::{Resource, setrlimit};

use kchaos_tests::{Kchaos, NetNs, kchaos, kct, kernel, scaled, suite::an_errno, wait_for};

kchaos_tests::tests! {
    needs(once, CgroupConnect): connect_hits_the_first_call;
    needs(once, TcEgress): gets_the_limits_that_kchaos_got, drop_hits_the_first_call, ends_with_the_time_box, dies_with_a_killed_kchaos;
}

fn connect_hits_the_first_call() {
    hits_the_first_call(&["connect", "--errno", an_errno().0]);
}

fn drop_hits_the_first_call() {
    hits_the_first_call(&["drop"]);
}

/// The very first call of the command is already hit, and the experiment ends with it.
fn hits_the_first_call(fault: &[&str]) {
    let ns = NetNs::new();
    let socket = ns.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = socket.local_addr().unwrap().to_string();
    let kct = kct().display().to_string();
    let words = [&["inject"][..], fault, &["--for", "30s", "--", &kct, "udp-send", &to, "20"]].concat();
    // Many times: a command that is hit a moment too late is missed only now and then.
    for _ in 0..scaled(9) {
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

/// kchaos may open more files than it was given at first; a program that uses select(2) must not.
fn gets_the_limits_that_kchaos_got() {
    let ns = NetNs::new();
    let words = ["inject", "drop", "--for", "30s", "--", "sh", "-c", "echo limit $(ulimit -S -n)"];
    let kchaos = Kchaos::spawn(&words, |command| {
        ns.place(command);
        // SAFETY: between fork and exec, one call that is safe there.
        unsafe {
            command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_NOFILE, 321, 4321)?));
        }
    });
    let ended = kchaos.wait();
    assert!(ended.stderr.contains("limit 321"), "{ended:?}");
}

/// At the end of the time box the command ends too, its children included, and its cgroup is gone.
fn ends_with_the_time_box() {
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
fn dies_with_a_killed_kchaos() {
    let ns = NetNs::new();
    let mark = format!("{}.75", 90_000 + std::process::id() % 9_000);
    let line = format!("sleep {mark} & sleep {mark} & wait");
    let kchaos = Kchaos::start(&ns, &["inject", "drop", "--for", "60s", "--", "sh", "-c", &line]);
    wait_for("the command's children run", Duration::from_secs(5), || running(&mark) == 2);
    let (pid, held) = (kchaos.pid(), kchaos.held());
    // Not `wait`, which reads its output to the end: the orphans hold its standard error open.
    drop(kchaos);
    kernel::assert_gone_after_kill(&ns, &held);
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
