//! `kchaos halt --all`: off in the kernel within 10 ms, whatever state its owner is in.

use std::{net::IpAddr, thread, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, boot_ns,
    kchaos::run,
    slow,
    suite::note,
    traffic::{Flood, Sink},
    wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(once, TcEgress): every_experiment_ends_also_a_stopped_one;
}

fn every_experiment_ends_also_a_stopped_one() {
    let ns = NetNs::new();
    let (one, two) = (Cgroup::new("one"), Cgroup::new("two"));
    let sinks = ["127.0.0.1", "::1"].map(|a| Sink::new(&ns, a.parse::<IpAddr>().unwrap()));
    let _floods =
        [Flood::start(&ns, &one, sinks[0].address, 200), Flood::start(&ns, &two, sinks[1].address, 200)];
    for sink in &sinks {
        wait_for("the flood arrives", Duration::from_secs(5), || sink.count() > 100);
    }
    let first = Kchaos::inject(&ns, "drop", &one, &[]);
    let second = Kchaos::inject(&ns, "drop", &two, &[]);
    second.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_millis(100) * slow());
    let dark = boot_ns();
    thread::sleep(Duration::from_millis(100));
    for (name, sink) in ["first", "second"].iter().zip(&sinks) {
        let since: Vec<u64> = sink.arrivals().into_iter().filter(|t| *t >= dark).collect();
        assert!(since.is_empty(), "{name} does not inject: {} packets since {dark}, {since:?}", since.len());
    }
    let asked = boot_ns();
    let halt = run(&["halt", "--all"]);
    let done = boot_ns();
    assert_eq!(Some(0), halt.code, "{halt:?}");
    assert!(halt.stdout.contains("halted"), "{halt:?}");
    for sink in &sinks {
        let again = sink.first_since(dark, Duration::from_secs(5)).expect("packets arrive again");
        let ms = |from: u64, to: u64| (to as f64 - from as f64) / 1e6;
        note(&format!(
            "halt: packets arrive {:.2} ms after its start, which took {:.2} ms",
            ms(asked, again),
            ms(asked, done)
        ));
        // 10 ms from the request, or a slow machine's multiple, which here includes starting a process: that gets its own
        // time on top.
        let limit = 10.0 * f64::from(slow()) + ms(asked, done);
        assert!(
            ms(asked, again) <= limit,
            "{} ms after the request, {limit} ms were allowed",
            ms(asked, again)
        );
    }
    let ended = first.wait();
    assert_eq!(Some(3), ended.code, "{ended:?}");
    assert_eq!("halted", ended.json()["ended"]["reason"]);
    second.signal(Signal::SIGCONT);
    assert_eq!(Some(3), second.wait().code);
}
