//! How exactly a delay is the one that was asked for, for packets one by one.

use std::{collections::BTreeMap, time::Duration};

use kchaos_tests::{slow, statistics::percentile};

use super::{
    Options,
    flow::{Packets, Pair, Receiver},
    rows::{Bar, Rows},
    way::{Asked, Standing, Way},
};

/// Milliseconds: what the short version takes for no error.
const LUCK: f64 = 0.25;

/// Milliseconds.
const DELAYS: [u64; 3] = [1, 10, 100];

/// Measures every delay.
pub fn run(pair: &Pair, options: &Options, rows: &mut Rows) {
    rows.section("accuracy: one way over veth, the median without a delay taken off; both families");
    for delay in DELAYS {
        one(pair, options, rows, delay);
    }
}

fn one(pair: &Pair, options: &Options, rows: &mut Rows, delay: u64) {
    let rounds = if options.quick { 1 } else { 4 };
    // Not a fraction of a tick, which would favour one phase of it; in a slow guest with room for all that is to do.
    let every = Duration::from_micros(if slow() > 1 { 7_300 } else { 2_300 });
    let packets =
        Packets { count: if options.quick { 250 } else { 500 }, every, flows: 2, size: 64, within: None };
    let mut took: BTreeMap<Way, Vec<f64>> = BTreeMap::new();
    // By turns, so that what disturbs the machine disturbs all.
    for _ in 0..rounds {
        for way in options.ways() {
            took.entry(way).or_default().extend(once(pair, packets, way, delay));
        }
    }
    let sent = (packets.count * rounds) as f64;
    let none = percentile(&took[&Way::None], 0.5);
    if delay == DELAYS[0] {
        rows.show("no delay: p50", none, "ms");
        rows.show("no delay: p99", percentile(&took[&Way::None], 0.99), "ms");
    }
    let errors = |way: Way| {
        let took = took.get(&way).filter(|took| !took.is_empty())?;
        let errors: Vec<f64> = took.iter().map(|took| (took - none - delay as f64).abs()).collect();
        Some([0.5, 0.99].map(|share| percentile(&errors, share)))
    };
    let netem = errors(Way::Netem);
    let ours = errors(Way::Kchaos);
    for (index, name) in ["p50", "p99"].into_iter().enumerate() {
        if let Some(netem) = netem {
            rows.show(format!("{delay} ms: error of netem, {name}"), netem[index], "ms");
        }
        // In so few packets one moment of a guest decides: netem may have had the luck of none.
        let luck = if options.quick { LUCK } else { 0.0 };
        let bar = netem.map_or([0.5, 3.0][index], |netem| (netem[index] * 1.1).max(luck));
        let what = format!("{delay} ms: error of kchaos, {name}");
        rows.add(what, ours.map(|ours| ours[index]), "ms", Bar::Below(bar));
    }
    for (way, took) in &took {
        let lost = sent - took.len() as f64;
        let bar = if *way == Way::Kchaos { Bar::Below(0.5) } else { Bar::None };
        if *way != Way::None {
            rows.add(format!("{delay} ms: lost by {way:?} of {sent}"), lost, "", bar);
        }
    }
}

/// How long each packet took, in milliseconds.
fn once(pair: &Pair, packets: Packets, way: Way, delay: u64) -> Vec<f64> {
    let receiver = Receiver::new(pair);
    let standing = Standing::put(way, pair, &receiver, &Asked::fixed(delay));
    packets.start(pair, &receiver).wait();
    let arrivals = receiver.take(packets.count, Duration::from_millis(3 * delay) + Duration::from_secs(1));
    standing.remove();
    arrivals.into_iter().map(super::flow::Arrival::took).collect()
}
