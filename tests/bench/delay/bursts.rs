//! Whether losses come in bursts as long as asked: those of the Gilbert-Elliott model are geometric.

use std::time::Duration;

use kchaos_tests::{
    scaled,
    statistics::{SIGNIFICANCE, gaps, geometric},
};

use super::{
    Options,
    flow::{Arrival, Packets, Pair, Receiver},
    rows::{Bar, Rows},
    way,
};

/// The mean length asked for.
const LENGTH: f64 = 4.0;

/// Measures it.
pub fn run(pair: &Pair, options: &Options, rows: &mut Rows) {
    rows.section("loss in bursts: 10 %, 4 at a time; chi-square of their lengths against the geometric ones");
    let count = scaled(if options.quick { 100_000 } else { 400_000 });
    let receiver = Receiver::new(pair);
    let fields = format!(
        "kind = \"drop\"\nprobability = \"10%\"\nburst_length = {LENGTH}\ndirection = \"egress\"\n\
         protocol = \"udp\"\n{}\n",
        receiver.peers()
    );
    if let Some(refusal) = way::refuses(pair, &fields) {
        eprintln!("bench    kchaos does not take the fault: {refusal}");
        rows.add("p", None, "", Bar::AtLeast(SIGNIFICANCE));
        return;
    }
    let kchaos = way::inject(pair, &fields);
    let packets = Packets { count, every: Duration::from_micros(25), flows: 2, size: 64, within: None };
    packets.start(pair, &receiver).wait();
    let numbers: Vec<u64> =
        receiver.take(count, Duration::from_secs(1)).iter().map(|Arrival { number, .. }| *number).collect();
    let ended = kchaos.stop();
    let injected = ended.count(0, "injected");
    let lengths = gaps(&numbers, count);
    let fit = geometric(&lengths, 1.0 / LENGTH);
    rows.show("lost", 100.0 * (count - numbers.len() as u64) as f64 / count as f64, "%");
    rows.show("bursts", lengths.len() as f64, "");
    rows.show("mean length", lengths.iter().sum::<u64>() as f64 / lengths.len() as f64, "");
    let stray = (count - numbers.len() as u64).abs_diff(injected);
    rows.add("lost and not counted, or the other way round", stray as f64, "", Bar::Below(0.5));
    rows.add("p", fit.p, "", Bar::AtLeast(SIGNIFICANCE));
}
