//! What a kill leaves behind while packets wait: how soon traffic goes on, and whether a device of ours stays.

use std::{thread, time::Duration};

use kchaos_tests::slow;
use nix::sys::signal::Signal;

use super::{
    Options,
    act::monotonic,
    flow::{Packets, Pair, Receiver},
    rows::{Bar, Rows},
    way::{Asked, Standing, Way},
};

/// Milliseconds: longer than it takes to send all that is to wait.
const DELAY: u64 = 30_000;

/// Packets that wait when the kill comes.
const WAITING: u64 = 10_000;

/// How a device of ours begins.
const PREFIX: &str = "kchaos";

/// Measures it.
pub fn run(pair: &Pair, options: &Options, rows: &mut Rows) {
    rows.section("killed with 10,000 packets waiting");
    // The kernels of today let go of programs at once; older ones when the next run cleans up.
    let bar = |limit| if options.guest { Bar::None } else { Bar::Below(limit) };
    if options.refusal.is_some() {
        rows.add("from the kill to the first packet through", None, "ms", bar(100.0));
        rows.add("from the kill to no device of ours", None, "ms", bar(2_000.0));
        return;
    }
    let receiver = Receiver::new(pair);
    let kchaos = match Standing::put(Way::Kchaos, pair, &receiver, &Asked::fixed(DELAY)) {
        Standing::Kchaos(kchaos) => kchaos,
        Standing::None | Standing::Netem(_) => unreachable!("kchaos was asked for"),
    };
    let load = Packets {
        count: WAITING,
        every: Duration::from_micros(400 * u64::from(slow().min(2))),
        flows: 8,
        size: 64,
        within: None,
    };
    let sent = load.start(pair, &receiver).wait();
    // A minute of one packet each millisecond; ended with us.
    let probe = Packets { count: 60_000, every: Duration::from_millis(1), flows: 2, size: 64, within: None };
    let probe = probe.start(pair, &receiver);
    thread::sleep(Duration::from_millis(200));
    rows.add(
        "packets waiting, at least",
        (sent.packets - receiver.count()) as f64,
        "",
        Bar::AtLeast(9_999.0),
    );
    let devices = devices(pair).len();
    let killed = monotonic();
    kchaos.signal(Signal::SIGKILL);
    let mut gone = None;
    let through = loop {
        let now = monotonic();
        if gone.is_none() && self::devices(pair).is_empty() {
            gone = Some(now);
        }
        let through = receiver.arrivals().iter().map(|arrival| arrival.at).find(|at| *at > killed);
        if (through.is_some() && gone.is_some()) || now - killed > 5_000_000_000 {
            break through;
        }
        thread::sleep(Duration::from_millis(1));
    };
    drop(probe);
    kchaos.wait();
    let since = |at: u64| (at - killed) as f64 / 1e6;
    rows.show("devices of ours before", devices as f64, "");
    rows.add("from the kill to the first packet through", through.map(since), "ms", bar(100.0));
    rows.add("from the kill to no device of ours", gone.map(since), "ms", bar(2_000.0));
}

/// Names of our devices on either side.
fn devices(pair: &Pair) -> Vec<String> {
    let list = |ns: &kchaos_tests::NetNs| {
        let links = ns.ip("-o link show");
        let names = links.lines().filter_map(|line| line.split(": ").nth(1).map(ToOwned::to_owned));
        names.filter(|name| name.starts_with(PREFIX)).collect::<Vec<_>>()
    };
    [list(&pair.near), list(&pair.far)].concat()
}
