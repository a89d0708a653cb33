//! Nothing that is not ours changes, before, during or after; nothing of ours stays, however it ends.

use std::{thread, time::Duration};

use kchaos_tests::{Cgroup, Kchaos, NetNs, kernel, scaled, slow, suite::an_errno, wait_for};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(TcEgress, CgroupIngress, CgroupConnect): after_a_signal_that_asks;
    needs(full TcEgress, CgroupIngress, CgroupConnect): after_sigkill, after_a_crash;
    needs(TcEgress): interrupted_while_starting, a_start_that_fails_leaves_nothing;
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
    let ns = NetNs::new();
    let cgroup = Cgroup::new("target");
    let before = kernel::lists(&ns);
    // As many moments as there is time for, from the first to one when it surely runs.
    let steps = scaled(25).max(5);
    for step in 0..steps {
        let delay = Duration::from_millis(100) * slow() * u32::try_from(step).unwrap()
            / 25.min(u32::try_from(steps).unwrap());
        let kchaos =
            Kchaos::spawn(&["inject", "drop", "--for", "30s", "--cgroup", cgroup.name()], |c| ns.place(c));
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
