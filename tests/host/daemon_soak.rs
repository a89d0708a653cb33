//! Experiments that come and go: memory and descriptors stay as they are, and every count is exact. Ten seconds in the
//! suite, as long as asked for with `cargo xtask soak`.

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use kchaos_tests::{
    Cgroup, NetNs,
    daemon::{Daemon, connect_fault},
    slow,
    suite::note,
    traffic::calls,
};

kchaos_tests::tests! {
    needs(CgroupConnect, once): nothing_grows;
    needs(once): an_idle_daemon_does_nothing;
}

const PORT: u16 = 7777;

/// How much of a daemon without experiments may be resident, in KiB.
const IDLE_KIB: u64 = 20 << 10;

/// How many are handed over in a second, on a machine that is not slow.
const RATE: u32 = 20;

/// How long each lasts.
const TIME_BOX: Duration = Duration::from_secs(1);

/// Callers, each of which waits for its answers: as many as hand over at this rate.
const CALLERS: u32 = 8;

/// What one of them does: experiments on cgroups of its own, one after the other.
struct Soak<'a> {
    ns: &'a NetNs,
    daemon: &'a Daemon,
    started: AtomicU32,
    exact: AtomicU32,
}

fn nothing_grows() {
    let seconds: u64 = env::var("KCHAOS_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let ns = NetNs::new();
    let daemon = Daemon::start(&ns, "kept = 200\n[rails]\nexperiments = 200\n");
    let (idle, idle_kib) = (daemon.descriptors(), daemon.resident_kib());
    let soak = Soak { ns: &ns, daemon: &daemon, started: AtomicU32::new(0), exact: AtomicU32::new(0) };
    let length = Duration::from_secs(seconds);
    // What is needed once is there after a while.
    soak.run("first", length / 4);
    let warm = daemon.resident_kib();
    let (before, begun) = (soak.started.load(Ordering::Relaxed), Instant::now());
    soak.run("then", length * 3 / 4);
    let started = soak.started.load(Ordering::Relaxed);
    let rate = f64::from(started - before) / begun.elapsed().as_secs_f64();
    let (resident, descriptors) = (daemon.resident_kib(), daemon.descriptors());
    let exact = soak.exact.load(Ordering::Relaxed);
    note(&format!(
        "soak: {started} experiments in {seconds} s ({rate:.1} per second), {exact} of them counted exactly; resident \
         {idle_kib} KiB when idle, {warm} KiB after a quarter of the time and {resident} KiB at the end, descriptors \
         {idle} and {descriptors}"
    ));
    assert!(exact > 0);
    assert!(daemon.held().is_empty(), "{:?}", daemon.held());
    assert!(descriptors <= idle, "{idle} -> {descriptors}");
    // Records of 200 experiments are kept, which are not all there after a quarter of a short run.
    assert!(resident < warm + warm / 10 + 4096, "{warm} KiB -> {resident} KiB");
}

/// Ten seconds of nothing: it wakes up for nothing, too.
fn an_idle_daemon_does_nothing() {
    let ns = NetNs::new();
    let daemon = Daemon::start(&ns, "");
    thread::sleep(Duration::from_secs(1));
    let (before, begun) = (daemon.processor_time(), Instant::now());
    thread::sleep(Duration::from_secs(10));
    let (took, resident) = (daemon.processor_time().saturating_sub(before), daemon.resident_kib());
    note(&format!(
        "an idle daemon: {resident} KiB resident, {} us of processor time in {:.0} s",
        took.as_micros(),
        begun.elapsed().as_secs_f64()
    ));
    assert!(resident < IDLE_KIB, "{resident} KiB");
    assert!(took < Duration::from_millis(1) * slow(), "{took:?}");
}

impl Soak<'_> {
    /// Until all that was started has ended.
    fn run(&self, phase: &str, length: Duration) {
        let begun = Instant::now();
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                scope.spawn(move || self.call(&format!("{phase}-{caller}"), begun, length));
            }
        });
    }

    fn call(&self, caller: &str, begun: Instant, length: Duration) {
        let cgroups: Vec<Cgroup> = (0..10).map(|n| Cgroup::new(&format!("soak-{caller}-{n}"))).collect();
        let (mut number, every) = (0u32, Duration::from_secs(1) * slow() * CALLERS / RATE);
        while begun.elapsed() < length {
            let at = number as usize % cgroups.len();
            let name = format!("{caller}-{at}");
            if number as usize >= cgroups.len() {
                self.daemon.ended(&name, Duration::from_secs(10));
            }
            let time_box = format!("{}s", TIME_BOX.as_secs());
            self.daemon.applied(&connect_fault(&name, &cgroups[at], &time_box, PORT));
            self.started.fetch_add(1, Ordering::Relaxed);
            if number.is_multiple_of(10) {
                self.counts_exactly(&name, &cgroups[at]);
            }
            number += 1;
            // No faster than asked for.
            thread::sleep((every * number).saturating_sub(begun.elapsed()));
        }
        for at in 0..cgroups.len().min(number as usize) {
            self.daemon.ended(&format!("{caller}-{at}"), Duration::from_secs(10));
        }
    }

    /// As many calls as failed are in the books, also if the time box was over before the last of them.
    fn counts_exactly(&self, name: &str, cgroup: &Cgroup) {
        let seen = calls(self.ns, cgroup, &["udp-connect", &format!("127.0.0.1:{PORT}"), "200"]);
        let failed: u64 = seen.failed.values().sum();
        // Whoever asks all the time whether it is over takes the machine from those that are to be started.
        thread::sleep(TIME_BOX);
        let fault = &self.daemon.ended(name, Duration::from_secs(5))["faults"][0];
        let number = |key: &str| fault[key].as_u64().unwrap();
        let skipped: u64 = fault["skipped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(
            (failed, number("matched")),
            (number("injected"), number("injected") + skipped),
            "{fault}"
        );
        self.exact.fetch_add(u32::from(failed == 200), Ordering::Relaxed);
    }
}
