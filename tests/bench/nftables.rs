//! What rules that do not fit add to a real UDP send over lo, ours against nftables' in the same run.

use std::{fmt::Write as _, net::UdpSocket, process::Command};

use kchaos_tests::{Cgroup, Kchaos, NetNs, traffic::calls};

use super::{Figure, matching, median};

const TO: &str = "127.0.0.1:5432";

/// What stands in the way of the packets.
#[derive(Clone, Copy)]
enum Rules {
    None,
    Ours(usize),
    Nftables(usize),
}

pub fn run(quick: bool) -> Vec<Figure> {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    // Nobody reads: what does not fit its buffer is lost, which costs the same every time.
    let _receiver = ns.enter(|| UdpSocket::bind(TO).unwrap());
    let all = [Rules::None, Rules::Ours(64), Rules::Ours(1000), Rules::Nftables(64), Rules::Nftables(1000)];
    let mut costs: [Vec<f64>; 5] = Default::default();
    // By turns, so that what disturbs the machine disturbs all.
    for _ in 0..if quick { 3 } else { 9 } {
        for (rules, costs) in all.iter().zip(&mut costs) {
            costs.push(with(&ns, &cgroup, *rules, if quick { 50_000 } else { 200_000 }));
        }
    }
    let [none, ours64, ours1000, nft64, nft1000] = costs.map(median);
    let figure = |what: &str, value: f64, unit, below| Figure { what: what.to_owned(), value, unit, below };
    let added = |cost: f64| cost - none;
    vec![
        figure("a UDP send over lo", none, "ns", None),
        figure("added by 64 rules of ours that do not fit", added(ours64), "ns", None),
        figure("added by 1,000 rules of ours", added(ours1000), "ns", None),
        figure("added by 64 rules of nftables", added(nft64), "ns", None),
        figure("added by 1,000 rules of nftables", added(nft1000), "ns", None),
        figure("64 rules: ours against nftables", added(ours64) / added(nft64), "x", Some(1.0)),
        figure("1,000 rules: ours against nftables", added(ours1000) / added(nft1000), "x", Some(0.1)),
    ]
}

/// Nanoseconds for one send.
fn with(ns: &NetNs, cgroup: &Cgroup, rules: Rules, count: u64) -> f64 {
    let measure = || {
        let timed = calls(ns, cgroup, &["udp-time", TO, &count.to_string()]);
        assert_eq!(count, timed.ok);
        timed.nanos as f64 / count as f64
    };
    match rules {
        Rules::None => measure(),
        Rules::Ours(number) => {
            let faults: Vec<String> = matching::rules(number)
                .split("[[fault]]\n")
                .filter(|fault| !fault.is_empty())
                .map(ToOwned::to_owned)
                .collect();
            let kchaos = Kchaos::run(ns, cgroup, &faults);
            let cost = measure();
            let ended = kchaos.stop();
            assert_eq!(0, ended.count(0, "matched"));
            cost
        }
        Rules::Nftables(number) => {
            nft(ns, &table(number));
            let cost = measure();
            nft(ns, "delete table inet bench\n");
            cost
        }
    }
}

/// Rules one after the other, none of which fits.
fn table(number: usize) -> String {
    let mut text = "table inet bench {\n chain out {\n  type filter hook output priority 0\n".to_owned();
    for n in 0..number {
        let (high, low, port) = (n / 200 + 1, n % 200, n % 4000 + 6000);
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "  ip daddr 10.{high}.{low}.0/24 udp dport {port} drop");
    }
    text + " }\n}\n"
}

fn nft(ns: &NetNs, text: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut command = Command::new("nft");
    command.arg("-f").arg(file.path());
    ns.place(&mut command);
    let output = command.output().expect("nft of the package nftables");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
