//! The same seed draws the same faults again.

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    suite::an_errno,
    traffic::{self, Sink},
};

kchaos_tests::tests! {
    needs(once, CgroupConnect): same_seed_same_faults;
}

/// Enough that two seeds cannot give the same by chance.
const PACKETS: usize = 500;

/// Which of [`PACKETS`] of one thread on one CPU are lost.
fn lost(seed: &str) -> Vec<bool> {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("one"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let kchaos = Kchaos::inject(
        &ns,
        "connect",
        &cgroup,
        &["--errno", an_errno().0, "--probability", "20%", "--seed", seed, "--peer", &to],
    );
    let mut command = traffic::helper(&ns, &cgroup, &["udp-pattern", &to, &PACKETS.to_string()]);
    traffic::on_one_cpu(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    kchaos.stop();
    String::from_utf8(output.stdout).unwrap().trim().chars().map(|c| c == 'x').collect()
}

fn same_seed_same_faults() {
    let (first, again, other) = (lost("42"), lost("42"), lost("43"));
    assert_eq!(PACKETS, first.len());
    assert!(first.iter().filter(|l| **l).count() > PACKETS / 8);
    assert_eq!(first, again);
    assert_ne!(first, other);
}
