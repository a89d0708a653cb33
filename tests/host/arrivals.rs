//! `rate`, `reorder`, `duplicate` and `corrupt` of packets that arrive for the target: for a cgroup, whose sockets they are
//! for, and for a network namespace, to which everything belongs that arrives there.

use std::{net::SocketAddr, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    kchaos::Ended,
    slow,
    traffic::{Server, Sink, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, TcIngress): copies, copies_on_lo;
    needs(spread, DelayLine, TcIngress): rates;
    needs(once, TcIngress): flipped_bits, broken_checksums;
    needs(once, DelayLine, TcIngress): some_are_overtaken;
}

/// A server that sends back what it gets, and who asks it.
struct Wire {
    near: NetNs,
    far: NetNs,
    target: Cgroup,
    other: Cgroup,
    _server: Server,
}

const PORT: u16 = 7330;
const ADDRESSES: [(&str, &str); 2] = [("10.99.0.1", "10.99.0.2"), ("fd99::1", "fd99::2")];

impl Wire {
    fn new() -> Self {
        let ((near, far), target, other) = (NetNs::joined(), Cgroup::new("target"), Cgroup::new("other"));
        let server = Server::start(&far, &target, &PORT.to_string());
        Self { near, far, target, other, _server: server }
    }

    /// Under a fault of what arrives for the server's cgroup, and under one of what arrives in its namespace.
    fn both(&self, kind: &str, words: &[&str], test: impl Fn(Kchaos)) {
        let path = self.far.path();
        for target in [["--cgroup", self.target.name()], ["--netns", &path]] {
            let first = ["inject", kind, "--for", "60s", "--direction", "ingress", "--seed", "5"];
            let kchaos = Kchaos::start(&self.far, &[&first[..], &target, words].concat());
            test(kchaos);
        }
    }

    /// Sends `count` numbered packets over each family, waits until no more come back, and answers with what did.
    fn ask(&self, count: u64, size: usize, every: Duration) -> [Sink; 2] {
        let sinks = ADDRESSES.map(|(near, far)| {
            let sink = Sink::new(&self.near, near.parse().unwrap());
            sink.ask(SocketAddr::new(far.parse().unwrap(), PORT), count, size, every);
            sink
        });
        let mut before = u64::MAX;
        wait_for("no more come back", Duration::from_secs(5), || {
            std::thread::sleep(Duration::from_millis(100) * slow());
            std::mem::replace(&mut before, arrived(&sinks)) == arrived(&sinks)
        });
        sinks
    }
}

const AT_ONCE: Duration = Duration::ZERO;

/// Over both families: every match is counted, and as many were hit as should be.
fn assert_counted(ended: &Ended, count: u64, share: f64) {
    assert_eq!(2 * count, ended.count(0, "matched"), "{ended:?}");
    assert_share("hit", share, ended.count(0, "injected"), 2 * count);
    ended.assert_books(0);
}

fn arrived(sinks: &[Sink; 2]) -> u64 {
    sinks.iter().map(|sink| sink.count() as u64).sum()
}

/// What is sent back is not copied, and TCP does not mind.
fn copies() {
    let wire = Wire::new();
    wire.both("duplicate", &[], |kchaos| {
        for sink in wire.ask(50, 8, AT_ONCE) {
            let mut numbers = sink.numbers();
            numbers.sort_unstable();
            assert!(numbers.iter().copied().eq((0..50).flat_map(|number| [number; 2])), "{numbers:?}");
        }
        for (_, address) in ADDRESSES {
            let to = SocketAddr::new(address.parse().unwrap(), PORT).to_string();
            assert_eq!(20, calls(&wire.near, &wire.other, &["tcp-echo", &to, "20"]).ok, "{to}");
        }
        let ended = kchaos.stop();
        assert!(ended.count(0, "injected") >= 2 * (50 + 20), "{ended:?}");
        ended.assert_books(0);
    });
}

/// There a copy cannot always be made: whichever is counted has come.
fn copies_on_lo() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let _server = Server::start(&ns, &target, &PORT.to_string());
    for address in ["127.0.0.1", "::1"] {
        let sink = Sink::new(&ns, address.parse().unwrap());
        let words = ["--direction", "ingress", "--protocol", "udp"];
        let kchaos = Kchaos::inject(&ns, "duplicate", &target, &words);
        sink.ask(SocketAddr::new(sink.address.ip(), PORT), 50, 8, AT_ONCE);
        std::thread::sleep(Duration::from_millis(200) * slow());
        let ended = kchaos.stop();
        let (made, failed) = (ended.count(0, "injected"), ended.skipped(0, "failed"));
        assert_eq!((50, 50), (ended.count(0, "matched"), made + failed), "{ended:?}");
        assert_eq!(50 + made, sink.count() as u64, "{ended:?}");
        let mut numbers = sink.numbers();
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.into_iter().eq(0..50), "{:?}", sink.numbers());
    }
}

fn flipped_bits() {
    let wire = Wire::new();
    let words = ["--checksum", "valid", "--bits", "1", "--probability", "40%", "--protocol", "udp"];
    wire.both("corrupt", &words, |kchaos| {
        let sinks = wire.ask(200, 8, AT_ONCE);
        let ended = kchaos.stop();
        assert_counted(&ended, 200, 0.4);
        let bits = |sink: &Sink| -> Vec<u32> {
            (0..).zip(sink.numbers()).map(|(sent, got): (u64, u64)| (sent ^ got).count_ones()).collect()
        };
        assert_eq!(400, arrived(&sinks), "{ended:?}");
        let wrong = sinks.each_ref().map(bits).concat();
        assert!(wrong.iter().all(|bits| *bits <= 1), "{wrong:?}");
        assert_eq!(
            ended.count(0, "injected"),
            wrong.iter().map(|bits| u64::from(*bits)).sum::<u64>(),
            "{wrong:?}"
        );
    });
}

fn broken_checksums() {
    let wire = Wire::new();
    let words = ["--checksum", "broken", "--probability", "40%", "--protocol", "udp"];
    wire.both("corrupt", &words, |kchaos| {
        let sinks = wire.ask(200, 8, AT_ONCE);
        let ended = kchaos.stop();
        assert_counted(&ended, 200, 0.4);
        assert_eq!(400 - ended.count(0, "injected"), arrived(&sinks), "{ended:?}");
    });
}

/// Packets of 1,000 bytes and their headers at 32 kB/s. The first passes at once and the second waits for less.
fn rates() {
    let wire = Wire::new();
    wire.both("rate", &["--rate", "256kbit", "--protocol", "udp"], |kchaos| {
        let sinks = wire.ask(12, 1000, AT_ONCE);
        let ended = kchaos.stop();
        assert_counted(&ended, 12, 1.0);
        for (sink, overhead) in sinks.iter().zip([42, 62]) {
            let arrivals = sink.arrivals();
            assert_eq!(12, arrivals.len(), "{ended:?}");
            let took = (arrivals[11] - arrivals[1]) as f64 / 1e9;
            let expected = 10.0 * f64::from(1000 + overhead) / 32e3;
            let around = expected - 0.03..expected * 1.1 + 0.1;
            assert!(around.contains(&took), "{}: {took} s, not {expected}", sink.address);
        }
    });
}

fn some_are_overtaken() {
    let wire = Wire::new();
    let words = ["--probability", "10%", "--delay", "20ms", "--protocol", "udp"];
    wire.both("reorder", &words, |kchaos| {
        let sinks = wire.ask(200, 8, Duration::from_micros(200));
        let ended = kchaos.stop();
        assert_counted(&ended, 200, 0.1);
        assert_eq!(400, arrived(&sinks), "{ended:?}");
        let late = |sink: &Sink| {
            let numbers = sink.numbers();
            let overtaken = |at: &usize| numbers[..*at].iter().any(|before| *before > numbers[*at]);
            (0..numbers.len()).filter(overtaken).count()
        };
        let late: u64 = sinks.iter().map(|sink| late(sink) as u64).sum();
        let hit = ended.count(0, "injected");
        // Nothing follows the last ones of each.
        assert!(
            (hit / 2..=hit).contains(&late),
            "{late} of {hit} were overtaken: {:?}",
            sinks.map(|s| s.numbers())
        );
    });
}
