//! What one packet costs on egress, by `BPF_PROG_TEST_RUN` on this machine.

use chaos_daemon::bpf::Feature;
use kchaos_tests::programs::{Programs, ROOT};

use super::{Figure, median};

/// UDP from 127.0.0.1:9 to 127.0.0.1:5432.
pub const PACKET: [u8; 46] = [
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, // Ethernet
    0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, // IPv4
    0, 9, 0x15, 0x38, 0, 12, 0, 0, // UDP
    7, 7, 7, 7,
];

pub fn run(quick: bool) -> Vec<Figure> {
    let repeat = if quick { 100_000 } else { 1_000_000 };
    let one = |what: &str, faults: &str, cgroup_id: u64| Figure {
        what: format!("packet: {what}"),
        value: nanoseconds(faults, cgroup_id, repeat),
        unit: "ns",
        below: None,
    };
    let rule = "[[fault]]\nkind = \"drop\"\npeer = \":5432\"\nprobability = \"10%\"\n";
    let others: Vec<String> =
        (1..=30).map(|n| format!("[[fault]]\nkind = \"drop\"\npeer = \"10.{n}.0.0/16:80\"\n")).collect();
    vec![
        one("of another cgroup", rule, u64::MAX),
        one("of the target, no fault matches", "[[fault]]\nkind = \"drop\"\npeer = \":80\"\n", ROOT),
        one("of the target, one fault matches", rule, ROOT),
        one("of the target, one of 31 faults matches", &(others.concat() + rule), ROOT),
    ]
}

/// Nanoseconds for [`PACKET`], sent by this process, where `cgroup` is the target.
pub fn nanoseconds(faults: &str, cgroup: u64, repeat: u32) -> f64 {
    // No mark: the same packet is judged in every repetition.
    let mut programs = Programs::armed("inject", faults, &[Feature::TcEgress.any_way()], 0, cgroup);
    let object = &mut programs.object;
    let mut one = || object.test_run("kchaos_egress", &PACKET, repeat).unwrap().duration.as_nanos() as f64;
    one();
    median((0..5).map(|_| one()).collect())
}
