//! What matching costs: for packets of others, for those that no rule fits, with ever more rules; and how long it
//! takes to replace the rules.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chaos_daemon::{
    bpf::Feature,
    config,
    engine::{Tables, boot_ns},
    guard::protected::Protected,
};
use kchaos_tests::{
    programs::{Programs, ROOT},
    replacing,
};

use super::{
    Figure,
    packet::{PACKET, nanoseconds},
};

/// `count` rules of mixed kinds, peers and ports, none of which fits [`PACKET`] (UDP from port 9 to 127.0.0.1:5432).
pub fn rules(count: usize) -> String {
    (0..count).map(rule).collect()
}

/// Kinds of rules among them.
const KINDS: usize = 4;

/// The rule of a number.
fn rule(n: usize) -> String {
    let (high, low, port) = (n / 200 + 1, n % 200, n % 4000 + 6000);
    let fields = match n % KINDS {
        0 => format!(
            "kind = \"drop\"\npeer = [\"10.{high}.{low}.0/24:{port}\", \"[2001:db8:{n:x}::/48]:443\"]"
        ),
        1 => format!("kind = \"drop\"\npeer = \":{port}-{}\"\nprotocol = \"tcp\"", port + 20),
        2 => format!("kind = \"connect\"\nerrno = \"EIO\"\npeer = \"127.0.0.1:{port}\""),
        _ => format!(
            "kind = \"drop\"\nlocal_port = {port}\npeer = \"127.0.0.0/8\"\nexclude = \"127.0.0.{low}\""
        ),
    };
    format!("[[fault]]\n{fields}\n")
}

/// A partition from a zone of so many networks; the last of them has the far end of [`PACKET`] if it is to be `hit`.
fn zone(networks: usize, hit: bool) -> String {
    let mut peers: Vec<String> =
        (1..networks).map(|n| format!("\"10.{}.{}.0/24\"", n / 200, n % 200)).collect();
    peers.push(if hit { "\"127.0.0.0/8\"" } else { "\"10.255.0.0/24\"" }.to_owned());
    format!("[[fault]]\nkind = \"partition\"\npeer = [{}]\n", peers.join(", "))
}

/// What an availability zone costs, for packets that go elsewhere and for those that go there.
fn zones(repeat: u32, quick: bool) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (hit, name) in [(false, "goes elsewhere"), (true, "is hit")] {
        let sets = [1, 5_000].map(|networks| zone(networks, hit));
        let mut fastest = [f64::INFINITY; 2];
        for _ in 0..if quick { 3 } else { 7 } {
            for (fastest, rules) in fastest.iter_mut().zip(&sets) {
                *fastest = fastest.min(nanoseconds(rules, ROOT, repeat));
            }
        }
        let figure = |what, value, unit, below| Figure { what, value, unit, below };
        let [one, many] = fastest;
        figures.push(figure(format!("partition from 1 network, the packet {name}"), one, "ns", None));
        figures.push(figure(format!("partition from 5,000 networks, the packet {name}"), many, "ns", None));
        figures.push(figure("the same, 5,000 against 1".to_owned(), many / one, "x", Some(1.3)));
    }
    figures
}

pub fn run(quick: bool) -> Vec<Figure> {
    let repeat: u32 = if quick { 200_000 } else { 2_000_000 };
    let figure = |what: String, value: f64, unit, below| Figure { what, value, unit, below };
    let mut others = f64::INFINITY;
    // One rule, of each kind by itself; and ever more of all kinds.
    let mut sets: Vec<String> = (0..KINDS).map(rule).collect();
    sets.extend([64, 1024].map(rules));
    let mut fastest = vec![f64::INFINITY; sets.len()];
    // By turns, so that what disturbs the machine disturbs all; and of each the fastest, which nothing has disturbed.
    for _ in 0..if quick { 3 } else { 7 } {
        for (fastest, rules) in fastest.iter_mut().zip(&sets) {
            *fastest = fastest.min(nanoseconds(rules, ROOT, repeat));
        }
        // A cgroup that nothing is in.
        others = others.min(nanoseconds(&rules(1024), u64::MAX, repeat));
    }
    let one = fastest[..KINDS].iter().sum::<f64>() / KINDS as f64;
    let sizes = [1, 64, 1024];
    let costs = [one, fastest[KINDS], fastest[KINDS + 1]];
    // How fast a machine is says nothing about us: the short version looks at the share only.
    let bar = (!quick).then_some(60.0);
    let mut figures = vec![figure("packet of another cgroup, 1,024 rules".into(), others, "ns", bar)];
    let share = others / costs[2];
    figures.push(figure(
        "the same, against one of the target that no rule fits".into(),
        share,
        "x",
        Some(0.6),
    ));
    for (count, cost) in sizes.iter().zip(costs) {
        figures.push(figure(format!("packet of the target that no rule of {count} fits"), cost, "ns", None));
    }
    for (index, bar) in [(1, 1.1), (2, 1.25)] {
        let what = format!("the same, {} rules against 1", sizes[index]);
        figures.push(figure(what, costs[index] / costs[0], "x", Some(bar)));
    }
    figures.extend(zones(repeat, quick));
    let (all, swap) = replacing(if quick { 5 } else { 20 });
    figures.push(figure(
        "replacing 1,024 rules: compiling and writing, slowest".into(),
        all,
        "ms",
        Some(50.0),
    ));
    figures.push(figure("of this, writing the tables and changing over".into(), swap, "ms", None));
    figures.extend(under_traffic(if quick { 300_000 } else { 1_000_000 }));
    figures
}

/// For each of two senders: 100,000 packets per second together.
const EVERY: Duration = Duration::from_micros(19);

/// The same while real packets are judged, none of them by a mixture.
fn under_traffic(packets: u64) -> [Figure; 5] {
    let replaced = replacing::under_traffic(packets, EVERY);
    let rate = replaced.packets as f64 / replaced.took.as_secs_f64();
    let mut times: Vec<f64> = replaced.times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    // Of hundreds, some wait for a CPU that the senders have.
    let part = |percent: usize| times[times.len() * percent / 100];
    let lost = replaced.packets - replaced.matched;
    let figure = |what: &str, value, unit, below| Figure { what: what.to_owned(), value, unit, below };
    [
        figure("packets per second while 1,024 rules are replaced", rate, "", None),
        figure("replacing them then, median", part(50), "ms", None),
        figure("replacing them then, 99 of 100", part(99), "ms", Some(50.0)),
        figure("replacing them then, slowest", times[times.len() - 1], "ms", None),
        figure("packets that saw some of the old and some of the new", lost as f64, "", Some(0.5)),
    ]
}

/// Milliseconds to put 1,024 other rules in the place of those in force, the slowest of some times.
fn replacing(times: usize) -> (f64, f64) {
    let faults = rules(1024);
    let mut programs = Programs::armed("inject", &faults, &[Feature::TcEgress.any_way()], 0, ROOT);
    let text = format!("duration = \"10m\"\n[target]\nhost = true\n{faults}");
    let experiment = config::parse("bench", &text, "bench").unwrap();
    let (mut slowest, mut slowest_swap) = (0.0f64, 0.0f64);
    for seed in 0..times {
        let begun = Instant::now();
        let Programs { object, tables } = &mut programs;
        let half = object.other_half(tables);
        let none = (&BTreeMap::default(), &Protected::default());
        let next = Tables::compile(&experiment, none.0, none.1, seed as u64, half).unwrap();
        let compiled = Instant::now();
        object.replace(&next, boot_ns()).unwrap();
        *tables = next;
        slowest = slowest.max(begun.elapsed().as_secs_f64() * 1000.0);
        slowest_swap = slowest_swap.max(compiled.elapsed().as_secs_f64() * 1000.0);
        object.test_run("kchaos_egress", &PACKET, 1).unwrap();
    }
    (slowest, slowest_swap)
}
