//! Patterns of loss: which packets are lost, and not only how many.

use std::time::Duration;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, scaled,
    traffic::{Sink, calls, calls_on_one_cpu},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, TcEgress): every_nth, the_first_of_each_connection;
    needs(once, TcEgress): losses_come_in_bursts, states_lose_as_they_should, neighbours_correlate_and_the_share_stays;
}

/// Which of `count` numbered packets are lost, the same ones each time, and what kchaos says.
fn lost(words: &[&str], count: u64) -> (Vec<bool>, kchaos_tests::kchaos::Ended) {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "10.99.0.2".parse().unwrap());
    let kchaos = Kchaos::inject(&near, "drop", &cgroup, &[&["--seed", "11"], words].concat());
    let words = ["udp-number", &sink.address.to_string(), &count.to_string(), "20"];
    let sent = calls_on_one_cpu(&near, &cgroup, &words);
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
    ended.assert_as_asked(0);
}

/// The correlation of neighbours: how much more often a packet is lost behind one that was than behind one that was not.
fn correlation(lost: &[bool]) -> f64 {
    let behind = |state: bool| {
        let next = lost.windows(2).filter(|pair| pair[0] == state).map(|pair| pair[1]);
        next.clone().filter(|lost| *lost).count() as f64 / next.count() as f64
    };
    behind(true) - behind(false)
}

fn assert_near(what: &str, expected: f64, got: f64, deviation: f64) {
    let slack = 4.42 * deviation;
    assert!((got - expected).abs() < slack, "{what}: {got}, not {expected} +- {slack}");
}

/// The Gilbert-Elliott model in all its letters: some pass in the bad state, and some are lost in the good one.
fn states_lose_as_they_should() {
    let (p, r, in_bad, in_good) = (0.05, 0.2, 0.75, 0.05);
    let count = scaled(40_000);
    let (lost, ended) = lost(&["--p", "5%", "--r", "20%", "--h", "25%", "--k", "95%"], count);
    ended.assert_as_asked(0);
    let (n, bad, stays): (f64, f64, f64) = (count as f64, p / (p + r), 1.0 - p - r);
    let share = bad * in_bad + (1.0 - bad) * in_good;
    let variance = share * (1.0 - share);
    // Two packets hang together by the state alone, which wears off by the same factor with each packet between them.
    let neighbours = (in_bad - in_good).powi(2) * bad * (1.0 - bad) * stays / variance;
    let worth = n / (1.0 + 2.0 * neighbours / (1.0 - stays));
    let got = ended.count(0, "injected") as f64 / n;
    assert_near("share", share, got, (variance / worth).sqrt());
    // At most as uncertain as where each state lasted as long and could be seen.
    let worth = n * (1.0 - stays * stays) / (1.0 + stays * stays);
    assert_near("correlation", neighbours, correlation(&lost), (1.0 / worth).sqrt());
}

fn neighbours_correlate_and_the_share_stays() {
    let (share, asked): (f64, f64) = (0.25, 0.25);
    let count = scaled(40_000);
    let (lost, ended) = lost(&["--probability", "25%", "--correlation", "25%"], count);
    ended.assert_as_asked(0);
    let n = count as f64;
    let worth = n * (1.0 - asked) / (1.0 + asked);
    let got = ended.count(0, "injected") as f64 / n;
    assert_near("share", share, got, (share * (1.0 - share) / worth).sqrt());
    // Of so many behind a lost one, and of so many behind another.
    let (again, anew) = (asked + (1.0 - asked) * share, (1.0 - asked) * share);
    let variance = again * (1.0 - again) / (n * share) + anew * (1.0 - anew) / (n * (1.0 - share));
    assert_near("correlation", asked, correlation(&lost), variance.sqrt());
}
