//! Faults that act from user space: who is killed, who stands still, and who is left alone.

use std::{net::UdpSocket, process::Child, thread, time::Duration};

use kchaos_tests::{Cgroup, Kchaos, NetNs, ends_with_us, kchaos::run, kct, slow, suite::facts, wait_for};

kchaos_tests::tests! {
    needs(): one_process_is_killed_and_no_neighbour, what_cannot_be_done_is_said;
    needs(spread): all_are_killed_again_and_again, the_seed_draws_the_victim,
        a_paused_service_answers_nothing_and_then_goes_on, shadow_touches_nothing, what_is_protected_is_left_alone,
        never_itself, nested_cgroups_side_by_side, one_at_a_time;
}

/// Something that runs in a cgroup, ended with the test.
pub struct Running(Child);

impl Running {
    /// `kct WORDS`.
    pub fn start(cgroup: &Cgroup, words: &[&str]) -> Self {
        let mut command = std::process::Command::new(kct());
        command.args(words);
        ends_with_us(&mut command);
        cgroup.place(&mut command);
        Self(command.spawn().unwrap())
    }

    /// Whether it has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn waiting(cgroup: &Cgroup, count: usize) -> Vec<Running> {
    let all: Vec<Running> = (0..count).map(|_| Running::start(cgroup, &["wait"])).collect();
    wait_for("they run", Duration::from_secs(5), || cgroup.pids().len() == count);
    all
}

fn alive(processes: &mut [Running]) -> usize {
    processes.iter_mut().filter_map(|process| process.is_alive().then_some(())).count()
}

/// Whether a cgroup is told to stand still.
pub fn is_frozen(cgroup: &Cgroup) -> bool {
    cgroup.read("cgroup.freeze") == "1"
}

fn one_process_is_killed_and_no_neighbour() {
    let ns = NetNs::new();
    let (target, neighbour) = (Cgroup::new("target"), Cgroup::new("neighbour"));
    let (mut ours, mut others) = (waiting(&target, 4), waiting(&neighbour, 2));
    let kchaos = Kchaos::inject(&ns, "kill", &target, &[]);
    wait_for("one is gone", Duration::from_secs(2), || alive(&mut ours) == 3);
    thread::sleep(Duration::from_millis(500));
    let ended = kchaos.stop();
    assert_eq!((3, 2), (alive(&mut ours), alive(&mut others)));
    assert_eq!((1, 1), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    let last = ended.json()["faults"][0]["last_injected_seconds"].as_f64().unwrap();
    assert!(last < 0.5 * f64::from(slow()), "{ended:?}");
}

/// With a limit: three of four get a signal that ends them, over two rounds.
fn all_are_killed_again_and_again() {
    let ns = NetNs::new();
    let target = Cgroup::new("target");
    let mut first = waiting(&target, 2);
    let flags = ["--which", "all", "--every", "1s", "--signal", "TERM", "--limit", "3"];
    let kchaos = Kchaos::inject(&ns, "kill", &target, &flags);
    wait_for("both are gone", Duration::from_secs(2), || alive(&mut first) == 0);
    let mut second = waiting(&target, 2);
    wait_for("one of the next", Duration::from_secs(3), || alive(&mut second) == 1);
    thread::sleep(Duration::from_millis(1500));
    let ended = kchaos.stop();
    assert_eq!(1, alive(&mut second));
    assert_eq!(3, ended.count(0, "injected"), "{ended:?}");
    assert!(ended.skipped(0, "limit") >= 1, "{ended:?}");
    ended.assert_books(0);
}

fn the_seed_draws_the_victim() {
    let ns = NetNs::new();
    let drawn = |seed: &str| {
        let target = Cgroup::new("target");
        let mut all = waiting(&target, 8);
        let kchaos = Kchaos::inject(&ns, "kill", &target, &["--seed", seed]);
        wait_for("one is gone", Duration::from_secs(2), || alive(&mut all) == 7);
        drop(kchaos.stop());
        // Numbers of processes are used again when all have been: then their order is another one.
        let mut pids: Vec<(u32, bool)> = all.iter_mut().map(|p| (p.0.id(), p.is_alive())).collect();
        pids.sort_unstable();
        pids.iter().position(|(_, alive)| !alive).unwrap()
    };
    let seeds = ["1", "2", "3", "4"];
    let once: Vec<usize> = seeds.iter().map(|seed| drawn(seed)).collect();
    let again: Vec<usize> = seeds.iter().map(|seed| drawn(seed)).collect();
    assert_eq!(once, again);
    assert!(once.iter().any(|victim| *victim != once[0]), "{once:?}");
}

/// A service that answers UDP, and who asks it.
struct Service {
    _process: Running,
    socket: UdpSocket,
}

impl Service {
    fn start(ns: &NetNs, cgroup: &Cgroup) -> Self {
        let mut command = std::process::Command::new(kct());
        command.args(["serve", "7800"]);
        ends_with_us(&mut command);
        ns.place(&mut command);
        cgroup.place(&mut command);
        let process = Running(command.spawn().unwrap());
        let socket = ns.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap());
        socket.connect("127.0.0.1:7800").unwrap();
        let this = Self { _process: process, socket };
        wait_for("it answers", Duration::from_secs(5), || this.answers(Duration::from_millis(100)));
        this
    }

    fn answers(&self, within: Duration) -> bool {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let _refused = self.socket.send(b"hello");
        self.socket.recv(&mut [0; 16]).is_ok()
    }
}

fn a_paused_service_answers_nothing_and_then_goes_on() {
    let ns = NetNs::new();
    let target = Cgroup::new("target");
    let service = Service::start(&ns, &target);
    let pulse = "kind = \"pause\"\npulse = { on = \"700ms\", off = \"1500ms\" }".to_owned();
    let kchaos = Kchaos::run(&ns, &target, &[pulse]);
    wait_for("it stands still", Duration::from_secs(2), || is_frozen(&target));
    assert!(!service.answers(Duration::from_millis(200)));
    wait_for("it goes on", Duration::from_secs(2), || !is_frozen(&target));
    assert!(service.answers(Duration::from_millis(500) * slow()));
    wait_for("and stands still again", Duration::from_secs(3), || is_frozen(&target));
    let ended = kchaos.stop();
    assert!(!is_frozen(&target));
    assert!(service.answers(Duration::from_millis(500) * slow()));
    assert!(ended.count(0, "injected") >= 2, "{ended:?}");
    ended.assert_books(0);
}

fn shadow_touches_nothing() {
    let ns = NetNs::new();
    let target = Cgroup::new("target");
    let mut all = waiting(&target, 2);
    for (kind, flags, matched) in
        [("pause", &["--shadow"][..], 1), ("kill", &["--shadow", "--which", "all"], 2)]
    {
        let kchaos = Kchaos::inject(&ns, kind, &target, flags);
        for _ in 0..50 {
            assert!(!is_frozen(&target));
            thread::sleep(Duration::from_millis(10));
        }
        let ended = kchaos.stop();
        assert_eq!((matched, 0), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
        assert_eq!(matched, ended.skipped(0, "shadow"), "{ended:?}");
    }
    assert_eq!(2, alive(&mut all));
}

fn what_is_protected_is_left_alone() {
    let ns = NetNs::new();
    let target = Cgroup::new("system");
    let (shell, service) = (target.child("sshd"), target.child("service"));
    let dir = tempfile::tempdir().unwrap();
    let sshd = dir.path().join("sshd");
    std::fs::copy(kct(), &sshd).unwrap();
    let mut command = std::process::Command::new(&sshd);
    command.arg("wait");
    ends_with_us(&mut command);
    shell.place(&mut command);
    let mut sshd = Running(command.spawn().unwrap());
    wait_for("it runs", Duration::from_secs(2), || shell.pids().len() == 1);
    let mut all = waiting(&service, 2);

    let words = ["inject", "pause", "--for", "1s", "--cgroup", target.name()];
    let refused = run(&words);
    assert_eq!(Some(2), refused.code, "{refused:?}");
    assert!(refused.stderr.contains("protected"), "{refused:?}");

    let kchaos = Kchaos::inject(&ns, "kill", &target, &["--which", "all"]);
    wait_for("the others are gone", Duration::from_secs(2), || alive(&mut all) == 0);
    let ended = kchaos.stop();
    assert!(sshd.is_alive());
    assert_eq!((2, 1), (ended.count(0, "injected"), ended.skipped(0, "protected")), "{ended:?}");
}

/// Nobody could end a pause of kchaos; and kchaos is in no danger of its own kills.
fn never_itself() {
    let ns = NetNs::new();
    let target = Cgroup::new("ours");
    let start = |words: &[&str]| {
        let words = [words, &["--cgroup", target.name(), "--allow-protected", "--for", "1s"]].concat();
        Kchaos::spawn(&words, |command| {
            ns.place(command);
            target.place(command);
        })
        .wait()
    };
    let refused = start(&["inject", "pause"]);
    assert_eq!(Some(2), refused.code, "{refused:?}");
    assert!(refused.stderr.contains("kchaos itself"), "{refused:?}");
    let mut other = waiting(&target, 1);
    let ended = start(&["inject", "kill", "--which", "all"]);
    assert_eq!((Some(0), 0), (ended.code, alive(&mut other)), "{ended:?}");
    assert_eq!(1, ended.count(0, "injected"), "{ended:?}");
    assert!(ended.skipped(0, "protected") >= 1, "{ended:?}");
}

fn nested_cgroups_side_by_side() {
    let ns = NetNs::new();
    let above = Cgroup::new("above");
    let below = above.child("below");
    let [one, two] = [&above, &below].map(|cgroup| Kchaos::inject(&ns, "pause", cgroup, &[]));
    for cgroup in [&above, &below] {
        wait_for("it stands still", Duration::from_secs(2), || is_frozen(cgroup));
    }
    drop(one.stop());
    assert_eq!((false, true), (is_frozen(&above), is_frozen(&below)));
    drop(two.stop());
    assert!(!is_frozen(&below));
}

fn one_at_a_time() {
    let ns = NetNs::new();
    let target = Cgroup::new("target");
    let kchaos = Kchaos::inject(&ns, "pause", &target, &[]);
    wait_for("it stands still", Duration::from_secs(2), || is_frozen(&target));
    let second = run(&["inject", "pause", "--for", "1s", "--cgroup", target.name()]);
    assert_eq!(Some(4), second.code, "{second:?}");
    assert!(second.stderr.contains("already"), "{second:?}");
    assert!(is_frozen(&target));
    drop(kchaos.stop());
    assert!(!is_frozen(&target));
}

fn what_cannot_be_done_is_said() {
    let target = Cgroup::new("target");
    let host = run(&["inject", "pause", "--for", "1s", "--host"]);
    assert_eq!(Some(2), host.code, "{host:?}");
    assert!(host.stderr.contains("the whole host"), "{host:?}");
    // One below has no files of controllers, whatever the host has: nobody has switched them on.
    let below = target.child("below");
    let refused = run(&["inject", "cpu", "--for", "1s", "--quota", "20%", "--cgroup", below.name()]);
    assert_eq!(Some(4), refused.code, "{refused:?}");
    let why = if facts().controllers { "echo +cpu > " } else { "cgroup v1" };
    assert!(refused.stderr.contains(why), "{refused:?}");
}
