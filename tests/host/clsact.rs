//! Filters on clsact, the way of kernels without tcx; tried on every kernel, as if it were old. Unlike links they can outlive
//! a killed kchaos and they stand among the filters of others: so what is left, and what becomes of others' filters, is
//! what matters here.

use std::{process::Command, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, boot_ns,
    kchaos::run,
    kernel::{self, Lists},
    slow,
    traffic::{self, Sink, calls},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(spread, TcEgress): others_filters_stay_as_they_are, nothing_is_left_after_a_normal_end,
        after_a_kill_everything_passes_and_clean_removes_it, the_next_start_removes_what_a_kill_left,
        a_qdisc_that_others_use_stays, a_qdisc_of_others_stays, two_experiments_on_one_device;
}

/// Two joined namespaces, a sender in the first, a sink for each family in the second.
struct Stage {
    near: NetNs,
    _far: NetNs,
    cgroup: Cgroup,
    sinks: [Sink; 2],
    resident: std::process::Child,
    _home: Cgroup,
}

impl Stage {
    fn new() -> Self {
        let (near, far) = NetNs::joined();
        let cgroup = Cgroup::new("sender");
        let sinks = ["10.99.0.2", "fd99::2"].map(|address| Sink::new(&far, address.parse().unwrap()));
        // `kchaos clean` finds network namespaces by the processes in them.
        let home = Cgroup::new("resident");
        let resident = traffic::helper(&near, &home, &["serve", "7700"]).spawn().unwrap();
        let stage = Self { near, _far: far, cgroup, sinks, resident, _home: home };
        // While the neighbour is looked for, only a few packets wait.
        stage.send(1);
        stage.assert_arrived(1);
        stage
    }

    fn start(&self, flags: &[&str]) -> Kchaos {
        let words = ["inject", "drop", "--for", "60s", "--cgroup", self.cgroup.name(), "--protocol", "udp"];
        let kchaos = Kchaos::start_with(&[&words[..], flags].concat(), |command| self.as_if_old(command));
        assert!(kchaos.held().links.is_empty(), "links, and not filters: {:?}", kchaos.held());
        kchaos
    }

    fn as_if_old(&self, command: &mut Command) {
        command.env("KCHAOS_TEST_WAYS", "clsact");
        self.near.place(command);
    }

    /// So many packets, over each family.
    fn send(&self, count: usize) {
        for sink in &self.sinks {
            let got =
                calls(&self.near, &self.cgroup, &["udp-send", &sink.address.to_string(), &count.to_string()]);
            assert_eq!(count as u64, got.ok, "{got:?}");
        }
    }

    /// So many have arrived, over each family.
    fn assert_arrived(&self, count: usize) {
        let arrived = || self.sinks.each_ref().map(Sink::count);
        wait_for("packets arrive", Duration::from_secs(5), || arrived().iter().all(|n| *n >= count));
        assert_eq!([count; 2], arrived());
    }

    fn lists(&self) -> Lists {
        kernel::lists(&self.near)
    }

    /// A filter of someone else's that matches nothing: a program of one instruction, "return 0".
    fn foreign_filter(&self, side: &str, priority: &str) {
        let words = ["tc", "filter", "add", "dev", "near", side, "protocol", "ip", "prio", priority];
        self.near.output_of(&[&words[..], &["bpf", "bytecode", "1,6 0 0 0", "flowid", "1:7"]].concat());
    }

    fn foreign_clsact(&self) {
        self.near.output("tc qdisc add dev near clsact");
    }

    /// Kills it and waits until packets arrive again: not later than the lease allows.
    fn kill(&self, kchaos: Kchaos) {
        let arrived = self.sinks[0].count();
        let held = kchaos.held();
        kchaos.signal(Signal::SIGKILL);
        let _reaped = kchaos.wait();
        let (killed, lease) = (boot_ns(), held.lease_ns());
        while boot_ns() < lease + 50_000_000 * u64::from(slow()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(lease < killed + 2_000_000_000, "the lease lasts too long");
        assert_eq!(arrived, self.sinks[0].count(), "nobody has sent anything");
        assert_eq!(1, held.alive().programs.len(), "a filter outlives its process");
        assert!(self.filters() > 0, "the filters are still there");
        self.send(20);
        self.assert_arrived(arrived + 20);
    }

    /// How many filters of ours there are.
    fn filters(&self) -> usize {
        let of = |device: &str| self.near.output(&format!("tc filter show dev {device} egress"));
        ["near", "lo"]
            .iter()
            .map(|device| of(device).lines().filter(|l| l.contains(" kchaos_egress ")).count())
            .sum()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _killed = self.resident.kill();
        let _reaped = self.resident.wait();
    }
}

fn clean() -> String {
    let cleaned = run(&["clean"]);
    assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
    cleaned.stdout
}

/// Qdiscs and filters of others on both sides, one of them of the very first priority: byte for byte the same, while it
/// runs and afterwards; and it works all the same, and says that it does not come first.
fn others_filters_stay_as_they_are() {
    let stage = Stage::new();
    stage.near.output("tc qdisc add dev near root handle 1: pfifo limit 77");
    stage.foreign_clsact();
    for (side, priority) in [("egress", "1"), ("egress", "5"), ("ingress", "1")] {
        stage.foreign_filter(side, priority);
    }
    let before = stage.lists();
    let kchaos = stage.start(&[]);
    stage.lists().assert_only_ours_added(&before);
    stage.send(20);
    let ended = kchaos.stop();
    assert_eq!((40, 40), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    assert!(ended.stderr.contains("up to priority 1 run first"), "{ended:?}");
    stage.lists().assert_as(&before, "afterwards");
    stage.send(20);
    stage.assert_arrived(21);
}

fn nothing_is_left_after_a_normal_end() {
    let stage = Stage::new();
    let before = stage.lists();
    let kchaos = stage.start(&[]);
    let held = kchaos.held();
    stage.lists().assert_only_ours_added(&before);
    assert_eq!(2, stage.filters(), "one on each device");
    stage.send(20);
    let ended = kchaos.stop();
    assert_eq!((40, 40), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    assert!(ended.stderr.contains("clsact"), "a second-best way is not taken in silence: {ended:?}");
    wait_for("programs and maps are gone", Duration::from_secs(5), || held.alive().is_empty());
    stage.lists().assert_as(&before, "the qdiscs, too");
}

fn after_a_kill_everything_passes_and_clean_removes_it() {
    let stage = Stage::new();
    let before = stage.lists();
    let kchaos = stage.start(&[]);
    let held = kchaos.held();
    stage.kill(kchaos);
    let said = clean();
    assert!(said.contains("tc filter") && said.contains("clsact"), "{said}");
    stage.lists().assert_as(&before, "the qdiscs, too");
    wait_for("programs and maps are gone", Duration::from_secs(5), || held.alive().is_empty());
    assert!(!clean().contains("tc filter"), "nothing is left to clean");
}

fn the_next_start_removes_what_a_kill_left() {
    let stage = Stage::new();
    let before = stage.lists();
    let kchaos = stage.start(&[]);
    let held = kchaos.held();
    stage.kill(kchaos);
    let next = stage.start(&[]);
    assert_eq!(2, stage.filters(), "only those of the one that runs");
    wait_for("the old programs and maps are gone", Duration::from_secs(5), || held.alive().is_empty());
    next.stop();
    stage.lists().assert_as(&before, "the qdiscs, too");
}

/// Made by us, but somebody has put a filter on it meanwhile.
fn a_qdisc_that_others_use_stays() {
    for killed in [false, true] {
        let stage = Stage::new();
        let kchaos = stage.start(&[]);
        stage.foreign_filter("ingress", "3");
        if killed {
            stage.kill(kchaos);
            clean();
        } else {
            kchaos.stop();
        }
        assert_eq!(0, stage.filters());
        assert!(stage.near.output("tc qdisc show dev near").contains("clsact"), "killed: {killed}");
        assert!(stage.near.output("tc filter show dev near ingress").contains("pref 3"), "killed: {killed}");
        assert!(!stage.near.output("tc qdisc show dev lo").contains("clsact"), "nobody uses that of lo");
    }
}

/// Not made by us, and empty: it stays all the same.
fn a_qdisc_of_others_stays() {
    let stage = Stage::new();
    stage.foreign_clsact();
    let before = stage.lists();
    stage.start(&[]).stop();
    stage.lists().assert_as(&before, "afterwards");
    stage.kill(stage.start(&[]));
    clean();
    stage.lists().assert_as(&before, "afterwards");
}

/// Neither hides packets from the other, takes the other's filter along, or leaves the qdisc behind.
fn two_experiments_on_one_device() {
    let stage = Stage::new();
    let before = stage.lists();
    let (first, second) = (stage.start(&["--shadow"]), stage.start(&["--shadow"]));
    assert_eq!(4, stage.filters());
    stage.send(20);
    assert_eq!(40, first.stop().count(0, "matched"));
    // The one that made the qdisc is gone, and the other still needs it.
    assert_eq!(2, stage.filters());
    stage.send(20);
    assert_eq!(80, second.stop().count(0, "matched"));
    stage.lists().assert_as(&before, "afterwards");
    stage.assert_arrived(41);
}
