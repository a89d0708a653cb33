//! What a fault holds in a cgroup is put back, however it ends: shown by `pause`, whose file every cgroup has.

use std::{fs, thread, time::Duration};

use kchaos_tests::{Cgroup, Kchaos, NetNs, kchaos::run, slow, wait_for};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::resources::is_frozen;

kchaos_tests::tests! {
    needs(): after_a_kill;
    needs(spread): after_every_end_that_it_hears_of, after_a_kill_of_the_keeper_as_well,
        a_stopped_one_lets_go_and_begins_anew, a_halt_from_elsewhere, a_keeper_that_is_killed_is_replaced,
        what_is_protected_and_comes_later_goes_on;
}

const SOON: Duration = Duration::from_secs(1);

fn paused() -> (NetNs, Cgroup, Kchaos) {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let kchaos = Kchaos::inject(&ns, "pause", &target, &[]);
    wait_for("it stands still", 2 * SOON, || is_frozen(&target));
    // It looks at what it has written, and counts; who stops or kills it before that sees something else.
    thread::sleep(Duration::from_millis(50) * slow());
    (ns, target, kchaos)
}

/// The process that puts everything back: the only one that kchaos starts.
pub fn keeper(kchaos: &Kchaos) -> Option<i32> {
    let pid = kchaos.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().next().map(|pid| pid.parse().unwrap())
}

/// Kills both, so that nobody puts anything back.
pub fn kill_with_keeper(kchaos: Kchaos) {
    let keeper = Pid::from_raw(keeper(&kchaos).unwrap());
    // So that it starts no other one.
    kchaos.signal(Signal::SIGSTOP);
    kill(keeper, Signal::SIGKILL).unwrap();
    kchaos.signal(Signal::SIGKILL);
    drop(kchaos.wait());
    thread::sleep(SOON);
}

fn notes() -> Vec<String> {
    let names = fs::read_dir("/run/kchaos").into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("held-")).collect()
}

fn after_every_end_that_it_hears_of() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (_ns, target, kchaos) = paused();
        kchaos.signal(signal);
        let ended = kchaos.wait();
        assert_eq!(Some(3), ended.code, "{ended:?}");
        assert!(!is_frozen(&target), "{signal}");
    }
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let kchaos = Kchaos::run_for("2s", &ns, &target, &["kind = \"pause\"".to_owned()]);
    wait_for("it stands still", 2 * SOON, || is_frozen(&target));
    let ended = kchaos.wait();
    assert_eq!((Some(0), 1), (ended.code, ended.count(0, "injected")), "{ended:?}");
    assert!(!is_frozen(&target));
    assert!(notes().is_empty(), "{:?}", notes());
}

fn after_a_kill() {
    let (_ns, target, kchaos) = paused();
    let keeper = keeper(&kchaos).expect("a keeper");
    kchaos.signal(Signal::SIGKILL);
    wait_for("it goes on", SOON, || !is_frozen(&target));
    let alive = || fs::exists(format!("/proc/{keeper}/stat")).unwrap();
    drop(kchaos);
    // Whoever inherits it may be slow to hear of its end; it is a zombie at most.
    wait_for("the keeper ends", 5 * SOON, || {
        !alive() || fs::read_to_string(format!("/proc/{keeper}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    wait_for("no note is left", SOON, || notes().is_empty());
}

fn after_a_kill_of_the_keeper_as_well() {
    let (_ns, target, kchaos) = paused();
    kill_with_keeper(kchaos);
    assert!(is_frozen(&target), "there was nobody to put it back");
    let cleaned = run(&["clean"]);
    assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
    assert!(cleaned.stdout.contains("cgroup.freeze of /kct-"), "{cleaned:?}");
    assert!(!is_frozen(&target));
    assert!(notes().is_empty());
    assert!(!run(&["clean"]).stdout.contains("cgroup.freeze"));
}

/// SIGSTOP: at the end of its lease. When it goes on, it begins anew, and says so.
fn a_stopped_one_lets_go_and_begins_anew() {
    let (_ns, target, kchaos) = paused();
    kchaos.signal(Signal::SIGSTOP);
    thread::sleep(SOON);
    assert!(is_frozen(&target), "its lease is not over yet");
    wait_for("it goes on", 2 * SOON, || !is_frozen(&target));
    thread::sleep(SOON);
    assert!(!is_frozen(&target));
    kchaos.signal(Signal::SIGCONT);
    wait_for("it stands still again", 2 * SOON, || is_frozen(&target));
    let ended = kchaos.stop();
    assert!(!is_frozen(&target));
    assert_eq!((2, 2), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    // What was put back meanwhile is nobody else's.
    assert!(!ended.stdout.contains("somebody else"), "{ended:?}");
}

/// Also where its owner is stopped.
fn a_halt_from_elsewhere() {
    let (_ns, target, kchaos) = paused();
    let halt = run(&["halt", "--all"]);
    assert_eq!(Some(0), halt.code, "{halt:?}");
    assert!(!is_frozen(&target));
    let ended = kchaos.wait();
    assert_eq!(Some(3), ended.code, "{ended:?}");
    assert_eq!("halted", ended.json()["ended"]["reason"]);
    assert!(!is_frozen(&target));

    let (_ns, target, kchaos) = paused();
    kchaos.signal(Signal::SIGSTOP);
    assert_eq!(Some(0), run(&["halt", "--all"]).code);
    assert!(!is_frozen(&target));
    kchaos.signal(Signal::SIGCONT);
    assert_eq!(Some(3), kchaos.wait().code);
    assert!(!is_frozen(&target));
}

/// Another kchaos moves into a cgroup that stands still, and would stand still with it.
fn what_is_protected_and_comes_later_goes_on() {
    let (ns, target, kchaos) = paused();
    let elsewhere = Cgroup::new("elsewhere");
    let other = Kchaos::inject(&ns, "pause", &elsewhere, &[]);
    wait_for("it stands still", 2 * SOON, || is_frozen(&elsewhere));
    target.write("cgroup.procs", &other.pid().to_string());
    wait_for("it goes on", 2 * SOON, || !is_frozen(&target));
    let ended = other.stop();
    assert_eq!(1, ended.count(0, "injected"), "{ended:?}");
    thread::sleep(SOON);
    assert!(!is_frozen(&target), "once let go it is not held again");
    let ended = kchaos.stop();
    assert_eq!(1, ended.count(0, "injected"), "{ended:?}");
    assert!(ended.json()["notes"].to_string().contains("something that is protected has come"), "{ended:?}");
}

fn a_keeper_that_is_killed_is_replaced() {
    let (_ns, target, kchaos) = paused();
    let first = keeper(&kchaos).unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    wait_for("there is another one", 2 * SOON * slow(), || keeper(&kchaos).is_some_and(|now| now != first));
    wait_for("it stands still", SOON, || is_frozen(&target));
    kchaos.signal(Signal::SIGKILL);
    wait_for("it goes on", SOON, || !is_frozen(&target));
}
