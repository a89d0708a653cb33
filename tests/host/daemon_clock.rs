//! The node daemon and the clock on the wall: what runs does not care about it, what waits does.

use std::{thread, time::Duration};

use jiff::{Timestamp, ToSpan, civil, tz::TimeZone};
use kchaos_tests::{
    Cgroup, NetNs,
    clock::WallClock,
    daemon::{Daemon, connect_fault},
    slow,
    suite::note,
    traffic::Flood,
    wait_for,
};

use crate::daemon::{PORT, fails};

kchaos_tests::tests! {
    needs(spread, CgroupConnect, guest): a_day_forth_and_back_changes_nothing, what_waits_starts_when_its_time_comes,
        what_the_host_forbids_waits_for_its_end;
    needs(once, CgroupConnect): forbidden_for_ever;
}

/// How far from its end a time box may be over.
const SLACK: Duration = Duration::from_millis(50);

/// By the kernel's own times.
fn a_day_forth_and_back_changes_nothing() {
    let clock = WallClock::new();
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let _flood = Flood::start(&ns, &cgroup, format!("127.0.0.1:{PORT}").parse().unwrap(), 500);
    let length = Duration::from_secs(3) * slow();
    daemon.applied(&connect_fault("runs", &cgroup, &format!("{}ms", length.as_millis()), PORT));
    for days in [1, -1] {
        clock.step(days * 86_400);
        thread::sleep(length / 4);
        assert_eq!("running", daemon.status("runs")["phase"]);
        assert_eq!(5, fails(&ns, &cgroup, 5), "{days}");
    }
    wait_for("it ends", length, || daemon.status("runs")["phase"] == "ended");
    let record = daemon.ask(&["record", "runs"]);
    assert_eq!("time_box", record["ended"]["reason"], "{record}");
    let last = record["faults"][0]["last_injected_seconds"].as_f64().unwrap();
    let early = length.as_secs_f64() - last;
    note(&format!("the last injection came {:.3} ms before the end of the time box", early * 1e3));
    assert!((0.0..=(SLACK * slow()).as_secs_f64()).contains(&early), "{early}: {record}");
}

fn what_waits_starts_when_its_time_comes() {
    let clock = WallClock::new();
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let waits =
        format!("windows = \"2999-01-01 10:00-12:00 UTC\"\n{}", connect_fault("waits", &cgroup, "1s", PORT));
    let status = daemon.applied(&waits);
    assert_eq!("pending", status["phase"], "{status}");
    assert!(status["message"].as_str().unwrap().contains("2999-01-01 10:00"), "{status}");
    assert_eq!("2999-01-01T10:00:00Z", status["next_start"], "{status}");
    daemon.ask(&["halt", "waits"]);
    assert_eq!("halted", daemon.status("waits")["end"]);

    let again = format!("every = \"1h\"\n{}", connect_fault("again", &cgroup, "100ms", PORT));
    daemon.applied(&again);
    let runs = |count: u64| {
        wait_for("it has run", Duration::from_secs(10), || daemon.status("again")["runs"] == count);
        wait_for("it waits again", Duration::from_secs(10), || daemon.status("again")["phase"] == "pending");
    };
    runs(1);
    clock.step(3_000);
    thread::sleep(Duration::from_millis(300) * slow());
    assert_eq!(1, daemon.status("again")["runs"], "its time has not come");
    clock.step(3_700);
    runs(2);
}

/// Today and tomorrow nothing may run here; nor may it when it is tomorrow.
fn what_the_host_forbids_waits_for_its_end() {
    let clock = WallClock::new();
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let (tomorrow, free) = (today + 1.day(), today + 2.days());
    let rails = format!("[rails]\nforbidden_windows = [\"{today}..{tomorrow} 00:00-24:00 UTC\"]\n");
    let daemon = Daemon::start(&ns, &rails);
    let status = daemon.applied(&connect_fault("waits", &cgroup, "30s", PORT));
    assert_eq!(("pending", format!("{free}T00:00:00Z").as_str()), text(&status), "{status}");
    assert_eq!(0, fails(&ns, &cgroup, 20));
    let ahead = |date: civil::Date| {
        date.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second() - Timestamp::now().as_second()
    };
    let until_free = ahead(free);
    clock.step(until_free - 60);
    thread::sleep(Duration::from_millis(300) * slow());
    assert_eq!("pending", daemon.status("waits")["phase"]);
    assert_eq!(0, fails(&ns, &cgroup, 20));
    clock.step(until_free + 1);
    wait_for("it runs", Duration::from_secs(10), || daemon.status("waits")["phase"] == "running");
    assert_eq!(20, fails(&ns, &cgroup, 20));
    daemon.ask(&["halt", "--all"]);
}

fn text(status: &serde_json::Value) -> (&str, &str) {
    (status["phase"].as_str().unwrap(), status["next_start"].as_str().unwrap_or("none"))
}

fn forbidden_for_ever() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "[rails]\nforbidden_windows = [\"00:00-24:00 UTC\"]\n");
    let refused = daemon.apply(&connect_fault("x", &cgroup, "30s", PORT));
    assert_eq!(Some(4), refused.code, "{refused:?}");
    assert!(refused.stderr.contains("never start"), "{refused:?}");
    assert!(daemon.held().is_empty());
    assert_eq!(0, fails(&ns, &cgroup, 20));
}
