//! `rate`, `reorder` and `duplicate` of packets that are sent: what comes out is what was asked for, to the packet. Those
//! that arrive: `arrivals`.

use std::time::Duration;

use chaos_common::draw;
use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    kchaos::Ended,
    scaled,
    traffic::{Sink, calls, calls_on_one_cpu},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, TcEgress): copies_are_counted;
    needs(spread, DelayLine, TcEgress): rates_hold, some_are_overtaken, copies_are_late_too;
    needs(once, DelayLine, TcEgress): each_flow_has_its_rate;
}

/// Of [`NetNs::joined`]'s far end.
pub const ADDRESSES: [&str; 2] = ["10.99.0.2", "fd99::2"];

const SEED: u64 = 7;

/// A target, and where what it sends arrives.
pub struct Wire {
    /// Where it is.
    pub near: NetNs,
    /// The far end.
    pub far: NetNs,
    /// The target.
    pub cgroup: Cgroup,
}

impl Wire {
    /// Makes one.
    pub fn new() -> Self {
        let (near, far) = NetNs::joined();
        Self { near, far, cgroup: Cgroup::new("sender") }
    }

    /// Sends `count` numbered packets under a fault: its result, and the numbers that arrived. They go out on one CPU, so
    /// the same ones are hit each time.
    pub fn numbered(
        &self,
        kind: &str,
        address: &str,
        words: &[&str],
        count: u64,
        every_us: &str,
    ) -> (Ended, Vec<u64>) {
        let Self { near, far, cgroup } = self;
        let sink = Sink::new(far, address.parse().unwrap());
        let kchaos = Kchaos::inject(near, kind, cgroup, &[&["--seed", &SEED.to_string()], words].concat());
        let (to, number) = (sink.address.to_string(), count.to_string());
        assert_eq!(count, calls_on_one_cpu(near, cgroup, &["udp-number", &to, &number, every_us]).ok);
        let ended = kchaos.stop();
        let mut before = 0;
        wait_for("no more arrive", Duration::from_secs(5), || {
            std::thread::sleep(Duration::from_millis(50));
            std::mem::replace(&mut before, sink.count()) == sink.count()
        });
        (ended, sink.numbers())
    }
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
    let (wire, count) = (Wire::new(), scaled(2000));
    for address in ADDRESSES {
        let (ended, numbers) = wire.numbered("duplicate", address, &["--probability", "30%"], count, "20");
        assert_copied(&ended, &numbers, count);
    }
}

/// A copy waits as long as its packet.
fn copies_are_late_too() {
    let Wire { near, far, cgroup } = Wire::new();
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

/// Those that are held back come later than those sent after them; the others stay as they were.
fn some_are_overtaken() {
    let (seed, threshold) = (draw::rule_seed(SEED, 0), draw::threshold(0.1));
    let wire = Wire::new();
    let is_hit = |number: &u64| draw::hit(seed, draw::ordinal(0, *number), threshold);
    for address in ADDRESSES {
        let words = ["--probability", "10%", "--delay", "20ms"];
        let (ended, numbers) = wire.numbered("reorder", address, &words, 300, "500");
        assert_eq!(300, numbers.len());
        let (held, others): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|number| is_hit(number));
        assert_eq!(ended.count(0, "injected"), held.len() as u64, "{ended:?}");
        assert!(others.is_sorted(), "{others:?}");
        let before = |held: &u64| numbers.iter().take_while(|number| *number != held).max();
        let overtaken = held.iter().filter(|held| before(held) > Some(*held)).count();
        // Nothing follows the last ones, and little those that were sent before the machine did something else.
        assert!(overtaken * 2 > held.len(), "{overtaken} of {held:?} were overtaken: {numbers:?}");
    }
}

/// Sends `count` packets of 5,000 bytes to each sink at the same time, and waits until they have arrived.
fn big(near: &NetNs, cgroup: &Cgroup, sinks: &[Sink], count: usize) {
    std::thread::scope(|scope| {
        for sink in sinks {
            scope.spawn(|| {
                calls(near, cgroup, &["udp-send-big", &sink.address.to_string(), &count.to_string()])
            });
        }
    });
    wait_for("all arrive", Duration::from_secs(20), || sinks.iter().all(|sink| sink.count() == count));
}

/// How long the packets of the sinks took from the first to the last, in seconds.
fn span(sinks: &[Sink]) -> f64 {
    let all: Vec<u64> = sinks.iter().flat_map(Sink::arrivals).collect();
    (all.iter().max().unwrap() - all.iter().min().unwrap()) as f64 / 1e9
}

/// So many packets of 5,000 bytes and their headers, but the first, at 1 Mbit/s, in seconds.
fn expected(sink: &Sink, count: usize) -> f64 {
    let overhead = if sink.address.is_ipv4() { 42 } else { 62 };
    (count - 1) as f64 * f64::from(5000 + overhead) * 8.0 / 1e6
}

/// The first one may be a little late, and all of them.
fn assert_took(sinks: &[Sink], count: usize) {
    let (took, expected) = (span(sinks), expected(&sinks[0], count));
    let around = expected - 0.03..expected * 1.1 + 0.1;
    assert!(around.contains(&took), "{}: {took} s, not {expected}", sinks[0].address);
}

fn rates_hold() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    for address in ["127.0.0.1", "::1"] {
        let sinks = [Sink::new(&ns, address.parse().unwrap())];
        let kchaos = Kchaos::inject(&ns, "rate", &cgroup, &["--rate", "1Mbit"]);
        big(&ns, &cgroup, &sinks, 30);
        assert_took(&sinks, 30);
        let ended = kchaos.stop();
        assert_eq!((30, 30), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    }
}

fn each_flow_has_its_rate() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let sinks = |per: &str| {
        let sinks = ["::1"; 2].map(|address| Sink::new(&ns, address.parse().unwrap()));
        let kchaos = Kchaos::inject(&ns, "rate", &cgroup, &["--rate", "1Mbit", "--per", per]);
        big(&ns, &cgroup, &sinks, 15);
        assert_eq!(30, kchaos.stop().count(0, "injected"));
        sinks
    };
    let together = sinks("fault");
    let least = expected(&together[0], 30) - 0.03;
    assert!(span(&together) > least, "{} s together, not {least}", span(&together));
    for flow in sinks("flow") {
        assert_took(&[flow], 15);
    }
}
