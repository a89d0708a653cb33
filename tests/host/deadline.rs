//! The time box, in the kernel: a flood of UDP packets of which all are dropped, and the moment when they arrive again.

use std::{net::IpAddr, thread, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, boot_ns, kernel, serial,
    traffic::{Flood, Sink},
    wait_for,
};
use nix::sys::signal::Signal;

const MS: u64 = 1_000_000;

/// A target that floods a sink, and an experiment that drops everything it sends.
struct Stage {
    ns: NetNs,
    sink: Sink,
    before: kernel::Lists,
    kchaos: Kchaos,
    held: kernel::Held,
    _flood: Flood,
    _cgroup: Cgroup,
}

impl Stage {
    fn new(address: &str, time_box: &str) -> Self {
        let ns = NetNs::new();
        let cgroup = Cgroup::new("flood");
        let sink = Sink::new(&ns, address.parse::<IpAddr>().unwrap());
        let flood = Flood::start(&ns, &cgroup, sink.address, 500);
        wait_for("the flood arrives", Duration::from_secs(5), || sink.count() > 100);
        let before = kernel::lists(&ns);
        let kchaos = Kchaos::start(&ns, &["inject", "drop", "--for", time_box, "--cgroup", cgroup.name()]);
        let held = kchaos.held();
        assert_eq!((1, 1), (held.programs.len(), held.links.len()), "one program, on one device: {held:?}");
        Self { ns, sink, before, kchaos, held, _flood: flood, _cgroup: cgroup }
    }

    /// When packets arrive again, from `since` on.
    fn again_since(&self, since_ns: u64) -> u64 {
        self.sink.first_since(since_ns, Duration::from_secs(20)).expect("packets arrive again")
    }

    /// Ends kchaos by SIGKILL, if nothing else has ended it, and expects that nothing of it is left.
    fn assert_nothing_left(self) {
        let pid = self.kchaos.pid();
        drop(self.kchaos);
        assert_nothing_left(&self.ns, &self.before, &self.held, pid);
    }
}

fn assert_nothing_left(ns: &NetNs, before: &kernel::Lists, held: &kernel::Held, pid: u32) {
    wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
    assert_eq!(*before, kernel::lists(ns));
    assert!(kernel::cgroups_of(pid).is_empty());
}

fn ms(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / MS as f64
}

/// Within 50 ms of the deadline, and not before it.
fn assert_on_time(what: &str, deadline: u64, again: u64, limit_ms: f64) {
    let late = ms(deadline, again);
    println!("{what}: packets arrive again {late:.2} ms after it");
    assert!(late >= 0.0, "{what}: {late} ms, too early");
    assert!(late <= limit_ms, "{what}: {late} ms, too late");
}

fn ends_at_the_deadline_while_running(address: &str) {
    let stage = Stage::new(address, "2s");
    let deadline = stage.held.deadline_ns();
    // A little after the start, so that what was under way has arrived.
    let again = stage.again_since(boot_ns() + 20 * MS);
    assert_on_time("the deadline", deadline, again, 50.0);
    let Stage { ns, before, kchaos, held, .. } = stage;
    let pid = kchaos.pid();
    let ended = kchaos.wait();
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!(ended.count(0, "matched"), ended.count(0, "injected") + skipped(&ended, "deadline"));
    assert_nothing_left(&ns, &before, &held, pid);
}

fn skipped(ended: &kchaos_tests::kchaos::Ended, reason: &str) -> u64 {
    ended.json()["faults"][0]["skipped"][reason].as_u64().unwrap()
}

#[test]
fn running_ipv4() {
    let _serial = serial();
    ends_at_the_deadline_while_running("127.0.0.1");
}

#[test]
fn running_ipv6() {
    let _serial = serial();
    ends_at_the_deadline_while_running("::1");
}

/// A stopped kchaos cannot extend its lease: the fault ends within it.
#[test]
fn stopped_ends_with_the_lease() {
    let _serial = serial();
    let stage = Stage::new("127.0.0.1", "60s");
    thread::sleep(Duration::from_millis(500));
    stage.kchaos.signal(Signal::SIGSTOP);
    let stopped = boot_ns();
    let lease = stage.held.lease_ns();
    assert!(ms(stopped, lease) <= 2000.0, "the lease lasts {} ms", ms(stopped, lease));
    let again = stage.again_since(stopped + 20 * MS);
    assert_on_time("the lease of a stopped kchaos", lease, again, 50.0);
    println!("SIGSTOP: packets arrive again after {:.0} ms", ms(stopped, again));
    // It goes on when it is continued: the time box is not over.
    stage.kchaos.signal(Signal::SIGCONT);
    thread::sleep(Duration::from_millis(300));
    let dark = boot_ns();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(None, stage.sink.arrivals().into_iter().find(|t| *t > dark), "injecting again");
    stage.assert_nothing_left();
}

/// A stopped kchaos with a deadline before its lease: the deadline counts.
#[test]
fn stopped_ends_at_a_nearer_deadline() {
    let _serial = serial();
    let stage = Stage::new("127.0.0.1", "1500ms");
    thread::sleep(Duration::from_millis(300));
    stage.kchaos.signal(Signal::SIGSTOP);
    let deadline = stage.held.deadline_ns();
    let again = stage.again_since(boot_ns() + 20 * MS);
    assert_on_time("the deadline of a stopped kchaos", deadline, again, 50.0);
    stage.assert_nothing_left();
}

/// A killed kchaos takes its programs along.
#[test]
fn killed_ends_at_once() {
    let _serial = serial();
    for address in ["127.0.0.1", "::1"] {
        let stage = Stage::new(address, "60s");
        thread::sleep(Duration::from_millis(300));
        let killed = boot_ns();
        stage.kchaos.signal(Signal::SIGKILL);
        let again = stage.again_since(killed);
        assert_on_time("SIGKILL", killed, again, 50.0);
        stage.assert_nothing_left();
    }
}
