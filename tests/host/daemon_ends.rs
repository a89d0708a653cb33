//! The node daemon: how experiments end before their time, and with it.

use std::{thread, time::Duration};

use kchaos_tests::{
    Cgroup, NetNs,
    daemon::{Daemon, connect_fault},
    wait_for,
};
use nix::sys::signal::Signal;

use crate::daemon::{PORT, fails};

kchaos_tests::tests! {
    needs(once, CgroupConnect): the_end_of_the_daemon_ends_everything, a_crash_is_told_and_starts_nothing,
        a_stopped_daemon_lets_go, a_stop_condition_ends_it;
}

fn the_end_of_the_daemon_ends_everything() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "Ctrl-C")] {
        let daemon = Daemon::start(&ns, "");
        daemon.applied(&connect_fault("x", &cgroup, "30s", PORT));
        assert_eq!(20, fails(&ns, &cgroup, 20));
        let socket = daemon.socket();
        daemon.signal(signal);
        let (code, folder) = daemon.wait();
        assert_eq!(Some(0), code);
        assert!(!socket.exists());
        assert_eq!(0, fails(&ns, &cgroup, 20));
        let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
        assert!(audit.contains("\"end\":\"stopped\"") && audit.contains(name), "{audit}");
        assert!(kchaos_daemon_notes().is_empty(), "{:?}", kchaos_daemon_notes());
    }
}

/// Notes of what runs.
fn kchaos_daemon_notes() -> Vec<String> {
    let entries = std::fs::read_dir("/run/kchaos").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("running-")).collect()
}

fn a_crash_is_told_and_starts_nothing() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    daemon.applied(&connect_fault("crashed", &cgroup, "30s", PORT));
    assert_eq!(1, kchaos_daemon_notes().len());
    assert_eq!(20, fails(&ns, &cgroup, 20));
    daemon.signal(Signal::SIGKILL);
    let (_, folder) = daemon.wait();
    wait_for("its faults end with it", Duration::from_secs(3), || fails(&ns, &cgroup, 20) == 0);
    let next = Daemon::start_in(folder, &ns, "");
    assert!(next.log().contains("was running on") && next.log().contains("crashed"), "{}", next.log());
    assert_eq!(0, next.ask(&["list"]).as_array().unwrap().len());
    assert!(next.held().is_empty() && kchaos_daemon_notes().is_empty());
    let (_, folder) = {
        next.signal(Signal::SIGTERM);
        next.wait()
    };
    let last = Daemon::start_in(folder, &ns, "");
    assert!(!last.log().contains("was running"), "it is told once: {}", last.log());
}

fn a_stop_condition_ends_it() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let stop =
        "[[stop]]\nname = \"enough\"\ncounter = \"injected\"\nwhen = \">= 100\"\ninterval = \"100ms\"\n";
    let text = connect_fault("x", &cgroup, "30s", PORT) + stop;
    daemon.applied(&text);
    assert_eq!(100, fails(&ns, &cgroup, 100));
    let status = daemon.ended("x", Duration::from_secs(5));
    assert_eq!("stopped", status["end"], "{status}");
    assert!(status["message"].as_str().unwrap().contains("\"enough\""), "{status}");
    assert_eq!("stop_condition", daemon.ask(&["record", "x"])["ended"]["reason"]);
    assert_eq!(0, fails(&ns, &cgroup, 20));
    // One that holds already applies nothing.
    let holds = text.replace(">= 100", ">= 0");
    let refused = daemon.apply(&holds);
    assert_eq!(Some(3), refused.code, "{refused:?}");
    assert!(refused.stderr.contains("enough") && daemon.held().is_empty(), "{refused:?}");
}

/// The kernel's lease: no thread of the daemon runs.
fn a_stopped_daemon_lets_go() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    daemon.applied(&connect_fault("x", &cgroup, "30s", PORT));
    assert_eq!(20, fails(&ns, &cgroup, 20));
    daemon.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_nanos(chaos_common::control::LEASE_NS) + Duration::from_millis(50));
    assert_eq!(0, fails(&ns, &cgroup, 20));
    // It does not answer, and everything that runs can be ended all the same; what waits there cannot, which is said.
    let halt = daemon.run(&["halt", "--all"]);
    assert_eq!(Some(4), halt.code, "{halt:?}");
    assert!(halt.stderr.contains("may still start") && halt.stdout.contains("halted 1"), "{halt:?}");
    daemon.signal(Signal::SIGCONT);
    assert_eq!("halted", daemon.ended("x", Duration::from_secs(5))["end"]);
    assert_eq!(0, fails(&ns, &cgroup, 20));
}
