//! What becomes of packets that wait at the end, and when kchaos is killed, stopped, or loses its line.

use std::{
    thread,
    time::{Duration, Instant},
};

use kchaos_tests::{
    Cgroup, NetNs, boot_ns,
    kernel::has_tcx,
    slow,
    suite::{Feature, Level, facts},
    traffic::{Flood, Sink},
    wait_for,
};
use nix::sys::signal::Signal;

use crate::waiting::{delay, send, start_for, undelivered};

kchaos_tests::tests! {
    needs(spread, DelayLine, TcEgress): what_is_due_is_delivered, what_is_not_due_is_lost_and_said,
        a_time_box_ends_while_packets_wait, a_kill_ends_it, a_stopped_engine_lets_go,
        a_line_that_is_taken_away_ends_it;
}

fn what_is_due_is_delivered() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "fd99::2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "400ms", "");
    let begun = boot_ns();
    send(&near, &cgroup, &sink, 20);
    let ended = kchaos.stop();
    assert_eq!((20, 0), (ended.count(0, "injected"), undelivered(&ended)), "{ended:?}");
    assert_eq!(20, sink.count());
    assert!(sink.arrivals().iter().all(|when| when - begun >= 400_000_000), "before it was due");
}

/// The longest delay there is.
fn what_is_not_due_is_lost_and_said() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "fd99::2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "10m", "");
    send(&near, &cgroup, &sink, 20);
    let ended = kchaos.stop();
    assert_eq!((20, 20), (ended.count(0, "injected"), undelivered(&ended)), "{ended:?}");
    assert_eq!(0, sink.count());
    send(&near, &cgroup, &sink, 5);
    wait_for("others pass afterwards", Duration::from_secs(5), || sink.count() == 5);
}

/// The end of the time box is one as well: what is due within a second after it is delivered, and no more.
fn a_time_box_ends_while_packets_wait() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let [soon, late] = ["10.99.0.2", "fd99::2"].map(|address| Sink::new(&far, address.parse().unwrap()));
    // They are sent so long before the end, and are due a moment after it.
    let lead = Duration::from_millis(600) * slow();
    let delay = lead + Duration::from_millis(300);
    let fault = |delay: Duration, sink: &Sink| {
        format!(
            "kind = \"delay\"\nprotocol = \"udp\"\ndelay = \"{}ms\"\npeer = \"{}\"",
            delay.as_millis(),
            sink.address
        )
    };
    let faults = [fault(delay, &soon), fault(Duration::from_secs(30), &late)];
    let duration = format!("{}ms", 3 * lead.as_millis());
    let kchaos = start_for(&near, &cgroup, &duration, "", &faults.each_ref().map(String::as_str));
    let end = kchaos.held().deadline_ns();
    thread::sleep(Duration::from_nanos(end.saturating_sub(boot_ns())).saturating_sub(lead));
    let begun = boot_ns();
    for sink in [&soon, &late] {
        send(&near, &cgroup, sink, 20);
    }
    let ended = kchaos.wait();
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!((20, 20), (ended.count(0, "injected"), ended.count(1, "injected")), "{ended:?}");
    assert_eq!((20, 0, 20), (soon.count(), late.count(), undelivered(&ended)), "{ended:?}");
    let due = begun + u64::try_from(delay.as_nanos()).unwrap();
    assert!(soon.arrivals().iter().all(|when| *when >= due), "before it was due");
}

/// With thousands of packets waiting: traffic flows at once where links die with their owner, and when the lease is over
/// where they do not.
fn a_kill_ends_it() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "10.99.0.2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "30s", "");
    send(&near, &cgroup, &sink, 10_000 / u64::from(slow()));
    let _flood = Flood::start(&near, &cgroup, sink.address, 1000);
    kchaos.signal(Signal::SIGKILL);
    let killed = boot_ns();
    let limit = if has_tcx() { Duration::from_millis(100) } else { Duration::from_millis(2_500) };
    let first = sink.first_since(killed, limit);
    assert!(first.is_some(), "nothing within {limit:?}");
    wait_for("no device stays", Duration::from_secs(2), || !near.ip("-o link").contains("kchaos"));
    drop(kchaos);
    let _swept = kchaos_tests::kchaos::run(&["clean"]);
}

/// SIGSTOP: no packet is delayed when the lease is over. Those that wait already go on when they are due where they wait in
/// the kernel; in kchaos they stand still, and are not delivered long after their time. When it goes on, all is as before.
fn a_stopped_engine_lets_go() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let [sink, other] = ["fd99::2", "10.99.0.2"].map(|address| Sink::new(&far, address.parse().unwrap()));
    let length = Duration::from_secs(1) * slow();
    let nanos = u64::try_from(length.as_nanos()).unwrap();
    let kchaos = delay(&near, &cgroup, &format!("{}s", length.as_secs()), "");
    let (begun, clock) = (boot_ns(), Instant::now());
    send(&near, &cgroup, &sink, 20);
    kchaos.signal(Signal::SIGSTOP);
    assert_eq!(0, sink.count(), "sent and stopped too slowly");
    thread::sleep(Duration::from_millis(2_100));
    send(&near, &cgroup, &other, 5);
    wait_for("others pass", Duration::from_millis(500), || other.count() == 5);
    thread::sleep((length + Duration::from_millis(3_500)).saturating_sub(clock.elapsed()));
    let delivered = if facts().level(Feature::DelayLine) == Level::Yes { 20 } else { 0 };
    assert_eq!(delivered, sink.count());
    assert!(sink.arrivals().iter().all(|when| (nanos..2 * nanos).contains(&(when - begun))));

    kchaos.signal(Signal::SIGCONT);
    wait_for("it injects again", Duration::from_secs(2), || kchaos.held().lease_ns() > boot_ns());
    let begun = boot_ns();
    send(&near, &cgroup, &sink, 5);
    thread::sleep(length * 3 / 2);
    let ended = kchaos.stop();
    assert_eq!((25, 5), (ended.count(0, "injected"), ended.skipped(0, "lease")), "{ended:?}");
    assert_eq!((delivered + 5, 20 - delivered as u64), (sink.count(), undelivered(&ended)), "{ended:?}");
    assert!(sink.arrivals()[delivered..].iter().all(|when| when - begun >= nanos));
}

/// Somebody deletes the device: the experiment ends and says why, and packets flow.
fn a_line_that_is_taken_away_ends_it() {
    let ((near, far), cgroup) = (NetNs::joined(), Cgroup::new("sender"));
    let sink = Sink::new(&far, "10.99.0.2".parse().unwrap());
    let kchaos = delay(&near, &cgroup, "50ms", "");
    let line = near.ip("-o link");
    let name = line.split([' ', ':', '@']).find(|word| word.starts_with("kchaos")).unwrap();
    near.ip(&format!("link del {name}"));
    let ended = kchaos.wait();
    assert_eq!(Some(3), ended.code, "{ended:?}");
    assert!(ended.json()["ended"].to_string().contains("delay line"), "{ended:?}");
    send(&near, &cgroup, &sink, 5);
    wait_for("they pass", Duration::from_secs(5), || sink.count() == 5);
}
