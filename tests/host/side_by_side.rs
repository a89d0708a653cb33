//! Experiments that run at the same time on one target: each judges for itself, whichever started first.

use std::time::Duration;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kchaos::Ended,
    traffic::{Sink, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(once, DelayLine, full TcEgress): one_loses_and_one_delays, what_one_has_delayed_is_nobodys;
}

const COUNT: u64 = 40;

/// Both experiments' results, and what arrived how long after the first was sent.
fn both(address: &str, faults: [&[&str]; 2]) -> ([Ended; 2], Vec<Duration>) {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, address.parse().unwrap());
    let started = faults.map(|words| Kchaos::inject(&near, words[0], &cgroup, &words[1..]));
    let begun = kchaos_tests::boot_ns();
    assert_eq!(COUNT, calls(&near, &cgroup, &["udp-send", &sink.address.to_string(), &COUNT.to_string()]).ok);
    let mut before = 0;
    wait_for("no more arrive", Duration::from_secs(5), || {
        std::thread::sleep(Duration::from_millis(250));
        std::mem::replace(&mut before, sink.count()) == sink.count()
    });
    let ended = started.map(Kchaos::stop);
    let took = sink.arrivals().into_iter().map(|when| Duration::from_nanos(when - begun)).collect();
    (ended, took)
}

const LOSE: &[&str] = &["drop", "--every", "2", "--protocol", "udp"];
const DELAY: &[&str] = &["delay", "--delay", "200ms", "--protocol", "udp"];

fn one_loses_and_one_delays() {
    for address in ["10.99.0.2", "fd99::2"] {
        for order in [[LOSE, DELAY], [DELAY, LOSE]] {
            let which = usize::from(order[1] == LOSE);
            let (ended, took) = both(address, order);
            let (lost, late) = (&ended[which], &ended[1 - which]);
            assert_eq!((COUNT, COUNT / 2), (lost.count(0, "matched"), lost.count(0, "injected")), "{lost:?}");
            assert_eq!(
                (COUNT / 2, COUNT / 2),
                (late.count(0, "matched"), late.count(0, "injected")),
                "{late:?}"
            );
            assert_eq!(COUNT / 2, took.len() as u64);
            assert!(took.iter().all(|took| *took >= Duration::from_millis(200)), "{took:?}");
        }
    }
}

/// A packet that has waited belongs to no socket any more. The other experiment leaves it alone, and says so.
fn what_one_has_delayed_is_nobodys() {
    for address in ["10.99.0.2", "fd99::2"] {
        let ([first, second], took) = both(address, [DELAY, DELAY]);
        assert_eq!((COUNT, COUNT), (first.count(0, "matched"), first.count(0, "injected")), "{first:?}");
        assert_eq!((0, COUNT), (second.count(0, "matched"), second.count(0, "unattributed")), "{second:?}");
        assert_eq!(COUNT, took.len() as u64);
    }
}
