//! How many packets per second the line carries, and that none is lost that it does not count.

use std::time::Duration;

use serde_json::Value;

use super::{
    Options,
    flow::{Packets, Pair, Receiver},
    rows::{Bar, Rows},
    way::{Asked, Standing, Way},
};

/// Milliseconds: so much traffic waits at a time.
const DELAY: u64 = 10;

/// What one run came to.
struct Run {
    sent: u64,
    /// Per second.
    offered: f64,
    arrived: u64,
    /// Per second of sending.
    carried: f64,
    /// Arrived, but the receiver's own socket had no room for them.
    unread: u64,
    /// Packets that kchaos reports as lost, or as waiting at its end.
    counted: Option<u64>,
}

/// Measures it.
pub fn run(pair: &Pair, options: &Options, rows: &mut Rows) {
    rows.section("packets per second through a delay of 10 ms");
    let rate = if options.guest { 100_000 } else { 50_000 };
    let mut netem = None;
    for way in options.ways() {
        // Whoever is only there to be compared with need not take as long.
        let seconds = match (options.quick, way) {
            (true, _) => 10,
            (false, Way::Kchaos) => 60,
            (false, _) => 20,
        };
        let run = once(pair, way, rate, seconds);
        rows.show(format!("{way:?}: offered, {rate} asked of the sender"), run.offered, "/s");
        if way == Way::Kchaos {
            // A machine that cannot send as much is held to what netem carries there.
            let bar = netem.map_or(rate as f64, |netem: f64| netem.min(rate as f64));
            rows.add("Kchaos: carried, 3 % of slack", run.carried, "/s", Bar::AtLeast(bar * 0.97));
            ours(&run, rows);
        } else {
            rows.show(format!("{way:?}: carried"), run.carried, "/s");
            rows.show(format!("{way:?}: lost of {}", run.sent), run.lost(), "");
        }
        if way == Way::Netem {
            netem = Some(run.carried);
        }
    }
    if options.refusal.is_some() {
        rows.add("Kchaos: carried", None, "/s", Bar::AtLeast(rate as f64 * 0.97));
    }
}

fn ours(run: &Run, rows: &mut Rows) {
    let counted = run.counted.unwrap_or_default();
    rows.show(format!("Kchaos: lost of {}", run.sent), run.lost(), "");
    rows.show("Kchaos: lost, by its own count", counted as f64, "");
    rows.show("Kchaos: arrived, but the receiver was too slow", run.unread as f64, "");
    let unexplained = run.lost() - counted as f64 - run.unread as f64;
    rows.add("Kchaos: lost and not counted", unexplained, "", Bar::Below(0.5));
}

impl Run {
    fn lost(&self) -> f64 {
        self.sent as f64 - self.arrived as f64
    }
}

fn once(pair: &Pair, way: Way, rate: u64, seconds: u64) -> Run {
    let receiver = Receiver::new(pair);
    let standing = Standing::put(way, pair, &receiver, &Asked::fixed(DELAY));
    let unread = unread(pair);
    let every = Duration::from_nanos(1_000_000_000 / rate);
    let within = Some(Duration::from_secs(seconds));
    let packets = Packets { count: rate * seconds, every, flows: 16, size: 64, within };
    let sent = packets.start(pair, &receiver).wait();
    let arrived = receiver.take(sent.packets, Duration::from_secs(2)).len() as u64;
    let counted = standing.remove().map(|ended| {
        let json = ended.json();
        let skipped = &json["faults"][0]["skipped"];
        [&skipped["overflow"], &skipped["lost"], &json["undelivered"]]
            .into_iter()
            .filter_map(Value::as_u64)
            .sum()
    });
    let took = sent.nanos as f64 / 1e9;
    Run {
        sent: sent.packets,
        offered: sent.packets as f64 / took,
        arrived,
        carried: arrived as f64 / took,
        unread: self::unread(pair) - unread,
        counted,
    }
}

/// Packets so far for which sockets of the far namespace had no room.
fn unread(pair: &Pair) -> u64 {
    let six = pair.far.output("cat /proc/self/net/snmp6");
    let six = six.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors")).unwrap();
    let four = pair.far.output("cat /proc/self/net/snmp");
    let mut four = four.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (four.next().unwrap(), four.next().unwrap());
    let at = names.split(' ').position(|name| name == "RcvbufErrors").unwrap();
    six.trim().parse::<u64>().unwrap() + values.split(' ').nth(at).unwrap().parse::<u64>().unwrap()
}
