//! Nothing that is not ours changes, before, during or after; nothing of ours stays, however it ends.

use std::{
    thread,
    time::{Duration, Instant},
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, kernel, scaled, slow,
    suite::an_errno,
    traffic::{Server, Sink, calls},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(TcEgress, CgroupIngress, CgroupConnect): after_a_signal_that_asks;
    needs(full TcEgress, CgroupIngress, CgroupConnect): after_sigkill;
    needs(spread, full TcEgress, CgroupIngress, CgroupConnect): after_a_crash;
    needs(spread, TcEgress): interrupted_while_starting, a_start_that_fails_leaves_nothing;
    needs(DelayLine, TcEgress): delays_end_as_they_began;
    needs(spread, DelayLine, TcEgress): delays_interrupted_while_starting, a_device_that_cannot_be_made;
    needs(spread, DelayLine, full TcEgress): delays_killed_while_starting;
}

/// A namespace with a root qdisc and a clsact filter of someone else's.
fn furnished() -> NetNs {
    let ns = NetNs::new();
    ns.ip("link add va type veth peer name vb");
    for end in ["va", "vb"] {
        // No address of its own, which would come a while after the start.
        ns.ip(&format!("link set {end} addrgenmode none"));
        ns.ip(&format!("link set {end} up"));
    }
    ns.output("tc qdisc add dev va root handle 1: pfifo limit 77");
    ns.output("tc qdisc add dev va clsact");
    // A program of one instruction, "return 0": no match.
    let filter = "tc filter add dev va egress protocol ip prio 5 bpf bytecode";
    ns.output_of(&filter.split(' ').chain(["1,6 0 0 0", "flowid", "1:7"]).collect::<Vec<_>>());
    ns
}

fn start(ns: &NetNs, cgroup: &Cgroup) -> Kchaos {
    let drop = "kind = \"drop\"\ndirection = \"both\"".to_owned();
    let connect = format!("kind = \"connect\"\nerrno = \"{}\"", an_errno().0);
    Kchaos::run(ns, cgroup, &[drop, connect])
}

fn ends_without_a_trace(signals: &[Signal], code: Option<i32>) {
    let ns = furnished();
    let cgroup = Cgroup::new("target");
    let before = kernel::lists(&ns);
    for signal in signals {
        ends_as_it_began(&ns, &cgroup, &before, *signal, code);
    }
}

fn ends_as_it_began(ns: &NetNs, cgroup: &Cgroup, before: &kernel::Lists, signal: Signal, code: Option<i32>) {
    let kchaos = start(ns, cgroup);
    let (pid, held) = (kchaos.pid(), kchaos.held());
    // Egress on three devices; ingress, connect4/6 and sendmsg4/6 on the cgroup.
    let links = if kernel::has_tcx() { 8 } else { 5 };
    assert_eq!((6, links), (held.programs.len(), held.links.len()), "{held:?}");
    if kernel::has_tcx() {
        kernel::lists(ns).assert_as(before, "while it ran");
    } else {
        kernel::lists(ns).assert_only_ours_added(before);
    }
    thread::sleep(Duration::from_millis(100));
    kchaos.signal(signal);
    let ended = kchaos.wait();
    assert_eq!(code, ended.code, "{signal}: {ended:?}");
    wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
    kernel::lists(ns).assert_as(before, "afterwards");
    assert!(kernel::cgroups_of(pid).is_empty());
}

/// Ctrl-C, a service manager, a closed terminal.
fn after_a_signal_that_asks() {
    ends_without_a_trace(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP], Some(3));
}

fn after_sigkill() {
    ends_without_a_trace(&[Signal::SIGKILL], None);
}

fn after_a_crash() {
    ends_without_a_trace(&[Signal::SIGABRT], None);
}

/// Ctrl-C at any moment of the start ends cleanly, too.
fn interrupted_while_starting() {
    interrupted("drop", &[], 25, Duration::from_millis(100));
}

fn delays_interrupted_while_starting() {
    interrupted("delay", &["--delay", "1s"], 12, Duration::from_millis(200));
}

/// As many moments as there is time for, of `steps`, from the first to one when it surely runs.
fn interrupted(kind: &str, words: &[&str], steps: u32, whole: Duration) {
    let ns = NetNs::new();
    let cgroup = Cgroup::new("target");
    let before = kernel::lists(&ns);
    let words = [&["inject", kind, "--for", "30s", "--cgroup", cgroup.name()], words].concat();
    let steps = u32::try_from(scaled(steps.into()).max(5)).unwrap();
    for step in 0..steps {
        let delay = whole * slow() * step / steps;
        let kchaos = Kchaos::spawn(&words, |c| ns.place(c));
        thread::sleep(delay);
        let (pid, held) = (kchaos.pid(), kchaos.held());
        kchaos.signal(Signal::SIGINT);
        let ended = kchaos.wait();
        assert!(matches!(ended.code, Some(3) | None), "after {delay:?}: {ended:?}");
        wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
        assert!(kernel::cgroups_of(pid).is_empty());
    }
    kernel::lists(&ns).assert_as(&before, "afterwards");
}

/// A sweep finds a namespace by the processes in it.
fn swept(ns: &NetNs, before: &kernel::Lists) {
    let cleaned = kchaos_tests::kchaos::run(&["clean"]);
    assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
    kernel::lists(ns).assert_as(before, "after a sweep");
}

/// With a device, settings, and packets that wait: as it began at once after a signal that asks, and after a sweep where
/// nobody was asked.
fn delays_end_as_they_began() {
    let (ns, cgroup) = (furnished(), Cgroup::new("target"));
    let before = kernel::lists(&ns);
    let sink = Sink::new(&ns, "::1".parse().unwrap());
    let _resident = Server::start(&ns, &cgroup, "7360");
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGABRT] {
        let kchaos = Kchaos::inject(&ns, "delay", &cgroup, &["--delay", "30s"]);
        kernel::lists(&ns).assert_only_a_line_added(&before);
        assert_eq!(100, calls(&ns, &cgroup, &["udp-send", &sink.address.to_string(), "100"]).ok);
        let held = kchaos.held();
        kchaos.signal(signal);
        let ended = kchaos.wait();
        if signal == Signal::SIGTERM {
            assert_eq!(Some(3), ended.code, "{ended:?}");
            let notes = ended.json()["notes"].to_string();
            assert!(!notes.contains("someone else"), "{notes}");
            kernel::lists(&ns).assert_as(&before, "afterwards");
        } else {
            assert_eq!(None, ended.code, "{ended:?}");
            wait_for("the line is gone", Duration::from_secs(2), || !ns.ip("-o link").contains("kchaos"));
            swept(&ns, &before);
        }
        wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
    }
    assert_eq!(0, sink.count());
}

/// Whatever is there already at any moment of the start goes, or is found by a sweep.
fn delays_killed_while_starting() {
    let (ns, cgroup) = (furnished(), Cgroup::new("target"));
    let before = kernel::lists(&ns);
    let _resident = Server::start(&ns, &cgroup, "7361");
    let words = ["inject", "delay", "--for", "30s", "--delay", "1s", "--cgroup", cgroup.name()];
    // How long a start takes when what it reads is in memory.
    let start = || {
        let begun = Instant::now();
        let kchaos = Kchaos::start(&ns, &words);
        let whole = begun.elapsed();
        kchaos.stop();
        whole
    };
    let (whole, steps) = (start().min(start()), 12);
    for step in 0..=steps {
        let kchaos = Kchaos::spawn(&words, |c| ns.place(c));
        thread::sleep(whole * step / steps);
        let held = kchaos.held();
        kchaos.signal(Signal::SIGKILL);
        kchaos.wait();
        wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
    }
    wait_for("no line is left", Duration::from_secs(2), || !ns.ip("-o link").contains("kchaos"));
    swept(&ns, &before);
}

/// Every name that a line could have is taken: it is said which, and nothing was done.
fn a_device_that_cannot_be_made() {
    let (ns, cgroup) = (furnished(), Cgroup::new("target"));
    for pair in 0..4 {
        let (one, other) = (2 * pair, 2 * pair + 1);
        ns.ip(&format!("link add kchaos{one} type veth peer name kchaos{other}"));
    }
    let before = kernel::lists(&ns);
    let words = ["inject", "delay", "--for", "5s", "--delay", "1s", "--cgroup", cgroup.name()];
    let ended = Kchaos::spawn(&words, |c| ns.place(c)).wait();
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("network device kchaos"), "{ended:?}");
    assert!(ended.stderr.contains("ip link delete kchaos"), "{ended:?}");
    kernel::lists(&ns).assert_as(&before, "afterwards");
}

/// All or nothing: what was attached before the command turned out to be wrong is gone, its cgroup too.
fn a_start_that_fails_leaves_nothing() {
    let ns = NetNs::new();
    let before = kernel::lists(&ns);
    let kchaos = Kchaos::spawn(&["inject", "drop", "--for", "5s", "--", "/no/such/program"], |c| ns.place(c));
    let pid = kchaos.pid();
    let ended = kchaos.wait();
    assert_eq!(Some(2), ended.code, "{ended:?}");
    kernel::lists(&ns).assert_as(&before, "afterwards");
    assert!(kernel::cgroups_of(pid).is_empty());
}
