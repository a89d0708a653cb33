//! The time box, in the kernel: a flood of UDP packets of which all are dropped, and the moment when they arrive again.

use std::{net::IpAddr, thread, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, boot_ns,
    clock::WallClock,
    kernel, slow,
    suite::note,
    traffic::{Flood, Sink},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(TcEgress): running_ipv4, running_ipv6, stopped_ends_with_the_lease, killed_ends_at_once;
    needs(spread, TcEgress): stopped_ends_at_a_nearer_deadline;
    needs(spread, TcEgress, guest): a_stepped_wall_clock_changes_nothing;
}

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
        let links = usize::from(kernel::has_tcx());
        assert_eq!(
            (1, links),
            (held.programs.len(), held.links.len()),
            "one program, on one device: {held:?}"
        );
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
        kernel::assert_gone_after_kill(&self.ns, &self.held);
        assert_nothing_left(&self.ns, &self.before, &self.held, pid);
    }
}

fn assert_nothing_left(ns: &NetNs, before: &kernel::Lists, held: &kernel::Held, pid: u32) {
    wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
    kernel::lists(ns).assert_as(before, "afterwards");
    assert!(kernel::cgroups_of(pid).is_empty());
}

fn ms(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / MS as f64
}

/// So much later, everything that was under way has arrived.
fn a_moment() -> u64 {
    20 * MS * u64::from(slow())
}

/// Within 50 ms of the deadline, or a slow machine's multiple of that, and not before it.
fn assert_on_time(what: &str, deadline: u64, again: u64) {
    let late = ms(deadline, again);
    let limit_ms = 50.0 * f64::from(slow());
    note(&format!("{what}: packets arrive again {late:.2} ms after it"));
    assert!(late >= 0.0, "{what}: {late} ms, too early");
    assert!(late <= limit_ms, "{what}: {late} ms, too late");
}

fn ends_at_the_deadline_while_running(address: &str) {
    let stage = Stage::new(address, "2s");
    let deadline = stage.held.deadline_ns();
    let again = stage.again_since(boot_ns() + a_moment());
    assert_on_time("the deadline", deadline, again);
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

fn running_ipv4() {
    ends_at_the_deadline_while_running("127.0.0.1");
}

fn running_ipv6() {
    ends_at_the_deadline_while_running("::1");
}

/// A stopped kchaos cannot extend its lease: the fault ends within it.
fn stopped_ends_with_the_lease() {
    let stage = Stage::new("127.0.0.1", "60s");
    thread::sleep(Duration::from_millis(500));
    stage.kchaos.signal(Signal::SIGSTOP);
    let stopped = boot_ns();
    let lease = stage.held.lease_ns();
    assert!(ms(stopped, lease) <= 2000.0, "the lease lasts {} ms", ms(stopped, lease));
    let again = stage.again_since(stopped + a_moment());
    assert_on_time("the lease of a stopped kchaos", lease, again);
    note(&format!("SIGSTOP: packets arrive again after {:.0} ms", ms(stopped, again)));
    // It goes on when it is continued: the time box is not over.
    stage.kchaos.signal(Signal::SIGCONT);
    thread::sleep(Duration::from_millis(300) * slow());
    let dark = boot_ns();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(None, stage.sink.arrivals().into_iter().find(|t| *t > dark), "injecting again");
    stage.assert_nothing_left();
}

/// A stopped kchaos with a deadline before its lease: the deadline counts.
fn stopped_ends_at_a_nearer_deadline() {
    let stage = Stage::new("127.0.0.1", "1500ms");
    thread::sleep(Duration::from_millis(300));
    stage.kchaos.signal(Signal::SIGSTOP);
    let deadline = stage.held.deadline_ns();
    let again = stage.again_since(boot_ns() + a_moment());
    assert_on_time("the deadline of a stopped kchaos", deadline, again);
    stage.assert_nothing_left();
}

/// A killed kchaos takes its programs along; where it cannot, they end with the lease.
fn killed_ends_at_once() {
    for address in ["127.0.0.1", "::1"] {
        let stage = Stage::new(address, "60s");
        thread::sleep(Duration::from_millis(300));
        let killed = boot_ns();
        stage.kchaos.signal(Signal::SIGKILL);
        // With tcx, the map may be gone by now.
        let due = if kernel::has_tcx() { killed } else { stage.held.lease_ns() };
        let again = stage.again_since(killed);
        assert_on_time("SIGKILL", due, again);
        stage.assert_nothing_left();
    }
}

/// An hour forward ends nothing early, an hour back nothing late: neither in the kernel nor in kchaos.
fn a_stepped_wall_clock_changes_nothing() {
    let clock = WallClock::new();
    let stage = Stage::new("127.0.0.1", "4s");
    let deadline = stage.held.deadline_ns();
    let began = boot_ns();
    for hours in [1, -1] {
        clock.step(hours * 3600);
        let stepped = boot_ns();
        // Several extensions of the lease, and longer than one lasts altogether.
        thread::sleep(Duration::from_millis(1200));
        assert_eq!(None, stage.sink.arrivals().into_iter().find(|t| *t > stepped), "ended by a step");
        assert!(stage.held.armed(), "kchaos gave up after a step");
    }
    assert!(boot_ns() < deadline, "the steps took {} ms", ms(began, boot_ns()));
    let again = stage.again_since(boot_ns());
    assert_on_time("the deadline, under a stepped clock", deadline, again);
    let Stage { ns, before, kchaos, held, .. } = stage;
    let pid = kchaos.pid();
    let ended = kchaos.wait();
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!("time_box", ended.json()["ended"]["reason"], "{ended:?}");
    let late = ms(deadline, boot_ns());
    assert!(late < 2000.0 * f64::from(slow()), "kchaos ended {late} ms after the deadline");
    assert_nothing_left(&ns, &before, &held, pid);
}
