//! The same seed draws the same faults again.

use kchaos_tests::{Cgroup, Kchaos, NetNs, serial, traffic::Sink};

/// Which of 2,000 packets of one thread on one CPU are lost.
fn lost(seed: &str) -> Vec<bool> {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("one"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let kchaos = Kchaos::inject(
        &ns,
        "connect",
        &cgroup,
        &["--errno", "EIO", "--probability", "20%", "--seed", seed, "--peer", &to],
    );
    let mut command = std::process::Command::new("taskset");
    command.args(["-c", "0"]).arg(kchaos_tests::kct()).args(["udp-pattern", &to, "2000"]);
    ns.place(&mut command);
    cgroup.place(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    kchaos.stop();
    String::from_utf8(output.stdout).unwrap().trim().chars().map(|c| c == 'x').collect()
}

#[test]
fn same_seed_same_faults() {
    let _serial = serial();
    let (first, again, other) = (lost("42"), lost("42"), lost("43"));
    assert_eq!(2000, first.len());
    assert!(first.iter().filter(|l| **l).count() > 300);
    assert_eq!(first, again);
    assert_ne!(first, other);
}
