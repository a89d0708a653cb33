//! What one TCP connection gets through a delay of 10 ms, and what one beside it loses by it.

use std::{
    collections::BTreeMap,
    io::Read as _,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use kchaos_tests::statistics::percentile;

use super::{
    Options,
    flow::{FAR, Pair},
    rows::{Bar, Rows},
    way::{Asked, Noxious, PROXY, Standing, Way},
};

/// Milliseconds.
const DELAY: u64 = 10;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rival {
    /// Whoever delays at the device, or nothing.
    Way(Way),
    /// kchaos delays what goes to another port.
    Beside,
    /// A proxy that delays.
    Noxious,
}

/// Measures it.
pub fn run(pair: &Pair, options: &Options, rows: &mut Rows) {
    rows.section("throughput of one TCP connection, 10 ms");
    let mut rivals: Vec<Rival> = options.ways().into_iter().map(Rival::Way).collect();
    if options.refusal.is_none() {
        rivals.push(Rival::Beside);
    }
    if !options.guest {
        rivals.push(Rival::Noxious);
    }
    let length = Duration::from_secs(if options.quick { 2 } else { 4 });
    let mut rates: BTreeMap<Rival, Vec<f64>> = BTreeMap::new();
    // By turns, and each time in another order, so that what disturbs the machine disturbs all.
    for round in 0..if options.quick { 3 } else { 7 } {
        for at in 0..rivals.len() {
            let rival = rivals[(at + round) % rivals.len()];
            if let Some(rate) = once(pair, rival, length) {
                rates.entry(rival).or_default().push(rate);
            }
        }
    }
    let medians: BTreeMap<Rival, f64> =
        rates.iter().map(|(rival, rates)| (*rival, percentile(rates, 0.5))).collect();
    for (rival, name) in [
        (Rival::Way(Way::None), "without a delay"),
        (Rival::Way(Way::Netem), "through netem"),
        (Rival::Noxious, "through noxious"),
        (Rival::Way(Way::Kchaos), "through kchaos"),
        (Rival::Beside, "beside a delay of kchaos"),
    ] {
        if let Some(rate) = medians.get(&rival) {
            rows.show(name, *rate, "MB/s");
        }
    }
    let ratio = |one, other| Some(medians.get(&one)? / medians.get(&other)?);
    let ours = Rival::Way(Way::Kchaos);
    if options.guest {
        rows.add("kchaos against netem", ratio(ours, Rival::Way(Way::Netem)), "x", Bar::AtLeast(1.0));
    } else {
        rows.add("kchaos against noxious", ratio(ours, Rival::Noxious), "x", Bar::AtLeast(3.0));
    }
    let beside = ratio(Rival::Beside, Rival::Way(Way::None));
    rows.add("a connection beside, against none", beside, "x", Bar::AtLeast(0.97));
}

/// Megabytes per second; none where the rival is not here.
fn once(pair: &Pair, rival: Rival, length: Duration) -> Option<f64> {
    let listener = pair.far.enter(|| TcpListener::bind((FAR[0], 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let direct = format!("{}:{port}", FAR[0]);
    let asked = Asked::fixed(DELAY);
    let put = |way, peer: &str| {
        let fields = format!("{}protocol = \"tcp\"\npeer = \"{peer}\"\n", asked.fields());
        Standing::put_with(way, pair, &fields, &asked)
    };
    let (standing, proxy, to) = match rival {
        Rival::Way(way) => (put(way, &direct), None, direct),
        Rival::Beside => (put(Way::Kchaos, &format!("{}:1", FAR[0])), None, direct),
        Rival::Noxious => (Standing::None, Some(Noxious::start(pair, port, DELAY)?), PROXY.to_owned()),
    };
    let words = ["tcp".to_owned(), to, (2 * length).as_secs().to_string()];
    let reader = thread::spawn(move || read(&listener, length));
    let mut sender = pair.sender(&words).spawn().unwrap();
    let rate = reader.join().unwrap();
    let _gone = sender.kill();
    let _reaped = sender.wait();
    drop(proxy);
    standing.remove();
    Some(rate)
}

/// Accepts one connection and reads for so long; the first quarter, in which it speeds up, does not count.
fn read(listener: &TcpListener, length: Duration) -> f64 {
    let (mut connection, _) = listener.accept().unwrap();
    connection.set_read_timeout(Some(length)).unwrap();
    let mut block = vec![0; 256 << 10];
    let (begun, warm) = (Instant::now(), length / 4);
    let (mut bytes, mut since) = (0, None);
    while begun.elapsed() < length {
        let Ok(count @ 1..) = connection.read(&mut block) else { break };
        if since.is_some() {
            bytes += count;
        } else if begun.elapsed() >= warm {
            since = Some(Instant::now());
        }
    }
    since.map_or(0.0, |since| bytes as f64 / 1e6 / since.elapsed().as_secs_f64())
}
