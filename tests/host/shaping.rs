//! `rate`, `reorder`, `duplicate` and `corrupt`: what comes out is what was asked for, to the packet.

use std::time::Duration;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    kchaos::Ended,
    scaled,
    traffic::{Sink, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(TcEgress): copies_are_counted, flipped_bits_arrive, broken_checksums_do_not;
    needs(TcIngress): copies_of_what_arrives;
    needs(DelayLine, TcEgress): rates_hold, each_flow_has_its_rate, some_are_overtaken, copies_are_late_too;
}

const ADDRESSES: [&str; 2] = ["10.99.0.2", "fd99::2"];

/// Sends `count` numbered packets under a fault: its result, and the numbers that arrived.
fn numbered(kind: &str, address: &str, words: &[&str], count: u64, every_us: &str) -> (Ended, Vec<u64>) {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, address.parse().unwrap());
    let kchaos = Kchaos::inject(&near, kind, &cgroup, &[&["--seed", "7"], words].concat());
    let (to, number) = (sink.address.to_string(), count.to_string());
    assert_eq!(count, calls(&near, &cgroup, &["udp-number", &to, &number, every_us]).ok);
    let ended = kchaos.stop();
    let mut before = 0;
    wait_for("no more arrive", Duration::from_secs(5), || {
        std::thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut before, sink.count()) == sink.count()
    });
    (ended, sink.numbers())
}

/// As many of each as there should be: one, or two of those that were copied.
fn assert_copied(ended: &Ended, numbers: &[u64], count: u64) {
    assert_eq!(count, ended.count(0, "matched"), "{ended:?}");
    assert_eq!(count + ended.count(0, "injected"), numbers.len() as u64, "{ended:?}");
    assert_share("copies", 0.3, ended.count(0, "injected"), count);
    for number in 0..count {
        let copies = numbers.iter().filter(|n| **n == number).count();
        assert!((1..=2).contains(&copies), "{copies} of {number}");
    }
}

fn copies_are_counted() {
    let count = scaled(2000);
    for address in ADDRESSES {
        let (ended, numbers) = numbered("duplicate", address, &["--probability", "30%"], count, "20");
        assert_copied(&ended, &numbers, count);
    }
}

fn copies_of_what_arrives() {
    let ((near, far), receiver) = (NetNs::joined(), Cgroup::new("receiver"));
    let sender = Cgroup::new("sender");
    // A socket of ours belongs to no target: the namespace does.
    let sink = Sink::new(&far, "fd99::2".parse().unwrap());
    let words = ["inject", "duplicate", "--for", "60s", "--direction", "ingress", "--protocol", "udp"];
    let path = far.path();
    let kchaos = Kchaos::start(&far, &[&words[..], &["--netns", &path]].concat());
    assert_eq!(50, calls(&near, &sender, &["udp-number", &sink.address.to_string(), "50", "200"]).ok);
    wait_for("two of each", Duration::from_secs(5), || sink.count() == 100);
    assert_eq!(50, kchaos.stop().count(0, "injected"));
    drop(receiver);
}

/// A copy waits as long as its packet.
fn copies_are_late_too() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    for address in ADDRESSES {
        let sink = Sink::new(&far, address.parse().unwrap());
        let faults = ["kind = \"delay\"\ndelay = \"300ms\"", "kind = \"duplicate\""];
        let kchaos = Kchaos::run(&near, &cgroup, &faults.map(|fault| format!("{fault}\nprotocol = \"udp\"")));
        let begun = kchaos_tests::boot_ns();
        assert_eq!(10, calls(&near, &cgroup, &["udp-number", &sink.address.to_string(), "10", "0"]).ok);
        wait_for("two of each", Duration::from_secs(5), || sink.count() == 20);
        assert!(sink.arrivals().iter().all(|when| when - begun >= 300_000_000));
        let ended = kchaos.stop();
        assert_eq!((10, 10), (ended.count(0, "injected"), ended.count(1, "injected")), "{ended:?}");
    }
}

/// Exactly one bit of each packet that is hit, and the receiver's stack takes it.
fn flipped_bits_arrive() {
    let count = scaled(1000);
    for address in ADDRESSES {
        for bits in [1, 3] {
            let asked = bits.to_string();
            let words = ["--checksum", "valid", "--bits", &asked, "--probability", "40%"];
            let (ended, numbers) = numbered("corrupt", address, &words, count, "20");
            assert_eq!(count, numbers.len() as u64, "{ended:?}");
            let wrong: Vec<u32> = (0..count)
                .zip(&numbers)
                .map(|(sent, got)| (sent ^ got).count_ones())
                .filter(|n| *n > 0)
                .collect();
            // The same bit may be drawn twice, and is what it was.
            assert!(wrong.iter().all(|flipped| *flipped <= bits && (bits - flipped) % 2 == 0), "{wrong:?}");
            if bits == 1 {
                assert_eq!(ended.count(0, "injected"), wrong.len() as u64, "{ended:?}");
            }
            assert_share("hit", 0.4, ended.count(0, "injected"), count);
        }
    }
}

fn broken_checksums_do_not() {
    let count = scaled(1000);
    for address in ADDRESSES {
        let words = ["--checksum", "broken", "--probability", "40%"];
        let (ended, numbers) = numbered("corrupt", address, &words, count, "20");
        assert_eq!(count - ended.count(0, "injected"), numbers.len() as u64, "{ended:?}");
        assert_share("hit", 0.4, ended.count(0, "injected"), count);
    }
}

/// Those that are held back come later than those sent after them; the others stay as they were.
fn some_are_overtaken() {
    for address in ADDRESSES {
        let words = ["--probability", "10%", "--delay", "20ms"];
        let (ended, numbers) = numbered("reorder", address, &words, 300, "500");
        assert_eq!(300, numbers.len());
        let mut largest = 0;
        let mut late = 0;
        for number in &numbers {
            late += u64::from(*number < largest);
            largest = largest.max(*number);
        }
        let hit = ended.count(0, "injected");
        assert!(late > 0 && late <= hit, "{late} of {hit} were overtaken: {numbers:?}");
    }
}

/// How long `count` packets of 5,042 bytes took from the first to the last, in seconds.
fn big(near: &NetNs, cgroup: &Cgroup, sinks: &[&Sink], count: usize) -> f64 {
    std::thread::scope(|scope| {
        for sink in sinks {
            scope.spawn(|| {
                calls(near, cgroup, &["udp-send-big", &sink.address.to_string(), &count.to_string()])
            });
        }
    });
    wait_for("all arrive", Duration::from_secs(20), || sinks.iter().all(|sink| sink.count() == count));
    let all: Vec<u64> = sinks.iter().flat_map(|sink| sink.arrivals()).collect();
    (all.iter().max().unwrap() - all.iter().min().unwrap()) as f64 / 1e9
}

/// From the first to the last: all but the first at the rate.
fn rates_hold() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    for (address, overhead) in [("127.0.0.1", 42), ("::1", 62)] {
        let sink = Sink::new(&ns, address.parse().unwrap());
        let kchaos = Kchaos::inject(&ns, "rate", &cgroup, &["--rate", "1Mbit"]);
        let took = big(&ns, &cgroup, &[&sink], 30);
        let expected = 29.0 * f64::from(5000 + overhead) * 8.0 / 1e6;
        assert!(
            (expected * 0.98..expected * 1.1 + 0.1).contains(&took),
            "{address}: {took} s, not {expected}"
        );
        let ended = kchaos.stop();
        assert_eq!((30, 30), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    }
}

fn each_flow_has_its_rate() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let sink = || Sink::new(&ns, "::1".parse().unwrap());
    let mut took = ["fault", "flow"].map(|per| {
        let kchaos = Kchaos::inject(&ns, "rate", &cgroup, &["--rate", "1Mbit", "--per", per]);
        let took = big(&ns, &cgroup, &[&sink(), &sink()], 15);
        assert_eq!(30, kchaos.stop().count(0, "injected"));
        took
    });
    let [together, apart] = &mut took;
    assert!(*together > 1.7 * *apart, "{together} s together, {apart} s each for itself");
}
