//! Whether delays with jitter are distributed as asked: Kolmogorov and Smirnov's test of ten thousand and more.
//!
//! kchaos keeps the packets of a flow in order, so each is given a flow that no other packet waits in. The delays are
//! long against what the machine adds by itself, and its median is taken off.

use std::{path::Path, time::Duration};

use kchaos_tests::{
    spread::{Shape, Spread},
    statistics::{SIGNIFICANCE, kolmogorov_smirnov, percentile},
};

use super::{
    Options,
    flow::{Packets, Pair, Receiver},
    rows::{Bar, Rows},
    way::{Asked, Standing, Way},
};

/// Flows by turns; between two packets of one lies more than the whole spread, but for what no run sees.
const FLOWS: usize = 2_000;

/// Measures every distribution.
pub fn run(pair: &Pair, options: &Options, rows: &mut Rows) {
    rows.section("distribution: Kolmogorov and Smirnov's test of delays with jitter");
    // Long against what a machine adds by itself that is slow, or that others take time from: that shows first at the sharp
    // edge of Pareto's distribution.
    let delay = 800;
    let fixed = Asked::fixed(delay);
    let count = if options.quick { 3_000 } else { 10_000 };
    for way in options.ways().into_iter().filter(|way| *way != Way::None) {
        let base = percentile(&sample(pair, way, &fixed, 2_000), 0.5);
        rows.show(format!("{way:?}: {delay} ms without jitter, median"), base, "ms");
        for shape in Shape::ALL.into_iter().filter(|shape| way == Way::Kchaos || has(*shape)) {
            let asked = Asked { delay, jitter: delay / 5, distribution: Some(shape.name()) };
            let took = sample(pair, way, &asked, count);
            let spread = Spread { shape, delay: delay as f64, jitter: asked.jitter as f64 };
            let took: Vec<f64> = took.into_iter().map(|took| took - (base - delay as f64)).collect();
            let fit = kolmogorov_smirnov(&took, |took| spread.share_below(took));
            let what = format!("{way:?}: {} {delay} ± {} ms", shape.name(), asked.jitter);
            let mean = took.iter().sum::<f64>() / took.len() as f64;
            let squares: f64 = took.iter().map(|took| (took - mean).powi(2)).sum();
            rows.show(format!("{what}: mean"), mean, "ms");
            rows.show(format!("{what}: standard deviation"), (squares / took.len() as f64).sqrt(), "ms");
            rows.show(format!("{what}: distance, n = {}", took.len()), fit.off, "");
            let bar = if way == Way::Kchaos { Bar::AtLeast(SIGNIFICANCE) } else { Bar::None };
            rows.add(format!("{what}: p"), fit.p, "", bar);
        }
    }
    if options.refusal.is_some() {
        for shape in Shape::ALL {
            rows.add(format!("Kchaos: {}: p", shape.name()), None, "", Bar::AtLeast(SIGNIFICANCE));
        }
    }
}

/// Whether netem's distribution of the name is ours (its tables of the other two are of another deviation), and its
/// table is here.
fn has(shape: Shape) -> bool {
    let folder = std::env::var("TC_LIB_DIR").unwrap_or_default();
    shape == Shape::Uniform || shape == Shape::Normal && Path::new(&folder).join("normal.dist").is_file()
}

/// So many delays, in milliseconds.
fn sample(pair: &Pair, way: Way, asked: &Asked, count: u64) -> Vec<f64> {
    let receiver = Receiver::new(pair);
    let standing = Standing::put(way, pair, &receiver, asked);
    let every = Duration::from_millis(1);
    let packets = Packets { count, every, flows: FLOWS, size: 64, within: None };
    packets.start(pair, &receiver).wait();
    let arrivals = receiver.take(count, Duration::from_millis(20 * asked.delay));
    standing.remove();
    arrivals.into_iter().map(super::flow::Arrival::took).collect()
}
