//! Rules that are replaced while they are in force: every packet is judged by the old ones or by the new ones.

use std::time::Duration;

use kchaos_tests::{replacing, scaled, suite::note};

kchaos_tests::tests! {
    needs(spread, TcEgress): a_packet_sees_the_old_rules_or_the_new_ones;
}

fn a_packet_sees_the_old_rules_or_the_new_ones() {
    let replaced = replacing::under_traffic(scaled(500_000), Duration::ZERO);
    let rate = replaced.packets as f64 / replaced.took.as_secs_f64();
    note(&format!(
        "{} packets, {rate:.0} per second, {} replacements of 1,024 rules",
        replaced.packets,
        replaced.times.len()
    ));
    assert!(replaced.times.len() >= 10, "too few replacements to say anything");
    assert_eq!(replaced.packets, replaced.matched);
}
