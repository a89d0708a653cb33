//! From `kchaos inject` to the first injected packet, and what it takes while it runs.

use std::{fs, path::PathBuf, thread, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, boot_ns, kchaos,
    traffic::{Flood, Sink},
    wait_for,
};

use super::{Figure, median};

/// The flood sends a packet this often: the resolution of the measurement.
const EVERY_US: u32 = 200;

pub fn run(quick: bool) -> Vec<Figure> {
    let runs = if quick { 5 } else { 20 };
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (start, kib) = once();
        starts.push(start);
        memory.push(kib);
    }
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    let binary = PathBuf::from(kchaos().get_program());
    let size = fs::metadata(binary).unwrap().len() as f64;
    let mib = 1024.0 * 1024.0;
    vec![
        Figure {
            what: format!("start to first injected packet, median of {runs}"),
            value: median(starts),
            unit: "ms",
            below: Some(300.0),
        },
        Figure {
            what: format!("start to first injected packet, slowest of {runs}"),
            value: slowest,
            unit: "ms",
            below: None,
        },
        Figure {
            what: format!("peak resident memory, median of {runs}"),
            value: median(memory) / 1024.0,
            unit: "MiB",
            below: Some(30.0),
        },
        Figure { what: "size of the binary".to_owned(), value: size / mib, unit: "MiB", below: Some(20.0) },
    ]
}

/// Milliseconds to the first packet that does not arrive, and the peak memory in KiB.
fn once() -> (f64, f64) {
    let ns = NetNs::new();
    let cgroup = Cgroup::new("bench");
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let _flood = Flood::start(&ns, &cgroup, sink.address, EVERY_US);
    wait_for("the flood arrives", Duration::from_secs(5), || sink.count() > 500);
    let begun = boot_ns();
    let kchaos = Kchaos::start(&ns, &["inject", "drop", "--for", "10s", "--cgroup", cgroup.name()]);
    thread::sleep(Duration::from_millis(400));
    // The last packet that arrived came just before the first that was dropped.
    let last = sink.arrivals().last().copied().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", kchaos.pid())).unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let kib = peak.trim().trim_end_matches(" kB").parse().unwrap();
    kchaos.stop();
    ((last - begun) as f64 / 1e6, kib)
}
