//! Patterns of loss: which packets are lost, and not only how many.

use std::time::Duration;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, scaled,
    traffic::{Sink, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(TcEgress): every_nth, the_first_of_each_connection, losses_come_in_bursts, correlation_keeps_the_share;
}

/// Which of `count` numbered packets are lost, and what kchaos says.
fn lost(words: &[&str], count: u64) -> (Vec<bool>, kchaos_tests::kchaos::Ended) {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "10.99.0.2".parse().unwrap());
    let kchaos = Kchaos::inject(&near, "drop", &cgroup, &[&["--seed", "11"], words].concat());
    let sent = calls(&near, &cgroup, &["udp-number", &sink.address.to_string(), &count.to_string(), "20"]);
    assert_eq!(count, sent.ok);
    let ended = kchaos.stop();
    let left = count - ended.count(0, "injected");
    wait_for("the others arrive", Duration::from_secs(5), || sink.count() as u64 == left);
    let mut lost = vec![true; usize::try_from(count).unwrap()];
    for number in sink.numbers() {
        lost[usize::try_from(number).unwrap()] = false;
    }
    (lost, ended)
}

fn every_nth() {
    let (lost, ended) = lost(&["--every", "7"], 700);
    assert_eq!(100, ended.count(0, "injected"));
    assert!(lost.iter().zip(1..).all(|(lost, number)| *lost == (number % 7 == 0)), "{lost:?}");
}

fn the_first_of_each_connection() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    for address in ["127.0.0.1", "::1"] {
        let sink = Sink::new(&ns, address.parse().unwrap());
        let kchaos = Kchaos::inject(&ns, "drop", &cgroup, &["--first", "3"]);
        // Each from a socket, and so a port, of its own.
        for _ in 0..4 {
            assert_eq!(10, calls(&ns, &cgroup, &["udp-number", &sink.address.to_string(), "10", "0"]).ok);
        }
        wait_for("seven of each", Duration::from_secs(5), || sink.count() == 28);
        assert!(
            sink.numbers().chunks(7).all(|arrived| arrived == [3, 4, 5, 6, 7, 8, 9]),
            "{:?}",
            sink.numbers()
        );
        assert_eq!((40, 12), {
            let e = kchaos.stop();
            (e.count(0, "matched"), e.count(0, "injected"))
        });
    }
}

/// Lengths of bursts are geometric: their mean is what was asked for, within 4.42 standard errors.
fn losses_come_in_bursts() {
    let count = scaled(40_000);
    let (lost, ended) = lost(&["--probability", "10%", "--burst-length", "4"], count);
    let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
    let mean = lost.iter().filter(|lost| **lost).count() as f64 / bursts;
    // The variance of a geometric length with the mean m is m(m - 1).
    let slack = 4.42 * (4.0f64 * 3.0 / bursts).sqrt();
    assert!((mean - 4.0).abs() < slack, "bursts of {mean} in the mean, not 4 +- {slack}");
    assert_eq!(Some(true), ended.json()["faults"][0]["as_asked"].as_bool(), "{ended:?}");
}

fn correlation_keeps_the_share() {
    let count = scaled(40_000);
    let (_, ended) = lost(&["--probability", "25%", "--correlation", "25%"], count);
    assert_eq!(Some(true), ended.json()["faults"][0]["as_asked"].as_bool(), "{ended:?}");
    let share = ended.count(0, "injected") as f64 / count as f64;
    let slack = 4.42 * (0.25f64 * 0.75 / (count as f64 * 0.75 / 1.25)).sqrt();
    assert!((share - 0.25).abs() < slack, "{share}, not 0.25 +- {slack}");
}
