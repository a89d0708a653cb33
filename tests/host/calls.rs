//! Calls fail as told, in the target and nowhere else, each decided for once, and nothing outlives its end.

use std::{collections::BTreeMap, process::Command, thread, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    caller::{Caller, Ends},
    kchaos::Ended,
    suite::{Call, Feature, Level, facts},
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(calls): every_call_fails_as_told, a_killed_engine_fails_no_call;
    needs(spread, calls): one_decision_for_each_call, they_end_with_their_time_box, a_stopped_engine_lets_go,
        what_others_denied_stays_denied, what_cannot_be_is_refused, the_whole_host;
    needs(spread, calls, full CgroupConnect): no_more_than_the_limit;
    needs(guest, spread, calls): halt_is_never_hit;
    needs(guest, spread, calls): every_call_fails_among_security_modules;
}

/// An errno that none of these calls has by itself.
const ERRNO: (&str, i32) = ("ENOMEDIUM", libc::ENOMEDIUM);

const COUNT: u64 = 20;

/// One `[[fault]]`.
fn fault(call: &str, more: &str) -> String {
    format!("kind = \"call\"\ncall = \"{call}\"\nerrno = \"{}\"\n{more}", ERRNO.0)
}

/// One that connects only to the socket that `kct` calls.
fn fault_of(call: Call) -> String {
    let peer = if call == Call::Connect { "peer = \"unix:/nowhere/kct.sock\"" } else { "" };
    fault(call.name(), peer)
}

/// How many of these ends were by our fault.
fn failed(ends: &Ends) -> u64 {
    ends.get(&ERRNO.1).copied().unwrap_or(0)
}

/// Those that this kernel can do.
pub fn here() -> Vec<Call> {
    Call::ALL.iter().copied().filter(|call| facts().level(Feature::Call(*call)) == Level::Yes).collect()
}

/// In the target, and in a cgroup below it; not in a neighbour, and not when it is over.
fn every_call_fails_as_told() {
    every_call(|_| ());
}

/// The second way, which guests have: there the kernel believes other things of the programs' arguments.
fn every_call_fails_among_security_modules() {
    let ended = every_call(|command| {
        command.env("KCHAOS_TEST_WAYS", "lsm");
    });
    let calls = ended.json()["calls"].as_array().unwrap().clone();
    let by_modules = calls.iter().filter(|call| call["way"] == "lsm").count();
    let by_questions = here().iter().filter(|call| !BY_SYSTEM_CALL.contains(call)).count();
    assert_eq!(by_questions, by_modules, "{ended:?}");
}

/// What the kernel asks nobody about.
const BY_SYSTEM_CALL: [Call; 3] = [Call::Fsync, Call::Close, Call::Poll];

fn every_call(adjust: impl FnOnce(&mut Command)) -> Ended {
    let (ns, target, neighbour) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("neighbour"));
    let child = target.child("child");
    let mut callers = [&target, &child, &neighbour].map(|cgroup| Caller::start(&ns, cgroup));
    let calls = here();
    let mut faults: Vec<String> = calls.iter().copied().map(fault_of).collect();
    // Never hits, and has the kind of every file looked at, also of those that are not there yet.
    faults.push(fault("rename", "file = \"dir\"\nuid = 4242"));
    let on = format!("cgroup = \"{}\"", target.name());
    let kchaos = Kchaos::run_on(&on, "5m", &faults, |command| {
        ns.place(command);
        adjust(command);
    });
    let mut seen: BTreeMap<&str, [Ends; 3]> = BTreeMap::new();
    for call in &calls {
        seen.insert(call.name(), callers.each_mut().map(|caller| caller.make(call.name(), COUNT)));
    }
    let ended = kchaos.stop();
    for (number, call) in calls.iter().enumerate() {
        let [one, below, other] = &seen[call.name()];
        assert_eq!([COUNT, COUNT, 0], [one, below, other].map(failed), "{call}: {seen:?}");
        let books = (ended.count(number, "matched"), ended.count(number, "injected"));
        assert_eq!((2 * COUNT, 2 * COUNT), books, "{call}: {ended:?}");
    }
    for call in calls {
        assert_eq!(0, failed(&callers[0].make(call.name(), 1)), "{call} when it is over");
    }
    ended
}

/// Nobody on the host can start a program any more, nor can `kchaos` read or open anything, and yet it can be halted.
fn halt_is_never_hit() {
    let faults = [
        fault("exec", ""),
        fault("open", "comm = \"kchaos\""),
        fault("read", "comm = \"kchaos\""),
        fault("mmap", "comm = \"kchaos\""),
    ];
    // Where the first process of the guest is, everybody is protected.
    let somebody = Cgroup::new("somebody");
    let start = |mut command: Command| {
        somebody.place(&mut command);
        command.output()
    };
    let kchaos = Kchaos::run_on("host = true", "60s", &faults, |_| ());
    let other = start(Command::new("true"));
    let mut command = kchaos_tests::kchaos();
    command.args(["halt", "--all"]);
    let halt = start(command);
    let ended = kchaos.wait();
    assert_eq!(Some(ERRNO.1), other.expect_err("no program can be started").raw_os_error());
    assert!(halt.as_ref().is_ok_and(|halt| halt.status.success()), "{halt:?} {ended:?}");
    assert_eq!("halted", ended.json()["ended"]["reason"], "{ended:?}");
}

/// The kernel asks several times in each of these.
fn one_decision_for_each_call() {
    const MANY: u64 = 200;
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    for (fails, calls) in [
        ("read", &["sendfile", "copy_file_range", "getdents", "read-socket", "read-pipe"][..]),
        ("read", &["splice"]),
        ("write", &["sendfile", "copy_file_range", "write-socket"]),
        ("recv", &["read-socket"]),
        ("send", &["write-socket"]),
        ("exec", &["script"]),
        ("open", &["open-dir"]),
    ] {
        let kchaos = Kchaos::run(&ns, &target, &[fault(fails, "probability = \"50%\"")]);
        let ends: Vec<u64> = calls.iter().map(|call| failed(&caller.make(call, MANY))).collect();
        let ended = kchaos.stop();
        let what = format!("{fails} in {calls:?}: {ends:?} {ended:?}");
        let (matched, injected) = (ended.count(0, "matched"), ended.count(0, "injected"));
        if calls == ["splice"] {
            // What comes into the pipe is moved on: another call of the same kind.
            assert!((MANY..=2 * MANY).contains(&matched), "{what}");
        } else {
            assert_eq!((MANY * calls.len() as u64, ends.iter().sum()), (matched, injected), "{what}");
            for (call, failed) in calls.iter().zip(ends) {
                assert_share(call, 0.5, failed, MANY);
            }
        }
        ended.assert_books(0);
    }
}

fn they_end_with_their_time_box() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let words =
        ["inject", "call", "--call", "read", "--errno", ERRNO.0, "--for", "3s", "--cgroup", target.name()];
    let kchaos = Kchaos::start(&ns, &words);
    assert_eq!(COUNT, failed(&caller.make("read", COUNT)));
    let ended = kchaos.wait();
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!(0, failed(&caller.make("read", COUNT)));
}

/// The links die with their holder.
fn a_killed_engine_fails_no_call() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let kchaos = Kchaos::run(&ns, &target, &[fault("read", "")]);
    assert_eq!(COUNT, failed(&caller.make("read", COUNT)));
    kchaos.signal(Signal::SIGKILL);
    let _killed = kchaos.wait();
    assert_eq!(0, failed(&caller.make("read", COUNT)));
}

/// A stopped one holds its links; what ends its faults is the lease, which it does not extend.
fn a_stopped_engine_lets_go() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let kchaos = Kchaos::run(&ns, &target, &[fault("read", "")]);
    kchaos.signal(Signal::SIGSTOP);
    thread::sleep(Duration::from_millis(2_100));
    assert_eq!(0, failed(&caller.make("read", COUNT)), "after its lease");
    kchaos.signal(Signal::SIGCONT);
    let ended = kchaos.stop();
    assert!(ended.skipped(0, "lease") >= COUNT, "{ended:?}");
    ended.assert_books(0);
}

/// Two experiments on one call: the second to be asked leaves the first one's errno as it is.
fn what_others_denied_stays_denied() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut caller = Caller::start(&ns, &target);
    let first = Kchaos::run(&ns, &target, &[fault("mkdir", "")]);
    let second = Kchaos::run(&ns, &target, &["kind = \"call\"\ncall = \"mkdir\"\nerrno = \"EXFULL\"".into()]);
    let ends = caller.make("mkdir", COUNT);
    let ended = [first.stop(), second.stop()];
    let by = ended.each_ref().map(|ended| ended.count(0, "injected"));
    assert!(by == [COUNT, 0] || by == [0, COUNT], "{ends:?} {ended:?}");
    let one = if by[0] > 0 { ERRNO.1 } else { libc::EXFULL };
    assert_eq!(Ends::from([(one, COUNT)]), ends);
    // By fmod_ret the second is not even asked; among security modules it is.
    let other = &ended[usize::from(by[0] > 0)];
    assert_eq!(other.count(0, "matched"), other.skipped(0, "denied"), "{ended:?}");
}

fn refused(ns: &NetNs, target: &[&str], flags: &[&str]) -> Ended {
    let words = [&["inject", "call", "--for", "5s", "--errno", "EIO"], target, flags].concat();
    Kchaos::spawn(&words, |command| ns.place(command)).wait()
}

fn what_cannot_be_is_refused() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let path = ns.path();
    let cgroup = ["--cgroup", target.name()];
    for (code, target, flags, says) in [
        (2, &cgroup[..], &["--call", "read", "--path", "/no/such/place"][..], "No such file"),
        (2, &["--netns", &path], &["--call", "read"], "`netns` names none"),
        (2, &cgroup, &["--call", "fork", "--path", "/tmp"], "means nothing here"),
    ] {
        let ended = refused(&ns, target, flags);
        assert_eq!(Some(code), ended.code, "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{flags:?}: {ended:?}");
    }
    for call in Call::ALL.iter().filter(|call| !here().contains(call)) {
        let ended = refused(&ns, &cgroup, &["--call", call.name()]);
        assert_eq!(Some(4), ended.code, "{call}: {ended:?}");
    }
}

/// Everybody but those who are protected.
fn the_whole_host() {
    let (ns, one, other, guarded) =
        (NetNs::new(), Cgroup::new("one"), Cgroup::new("other"), Cgroup::new("guarded"));
    let mut callers = [&one, &other, &guarded].map(|cgroup| Caller::start(&ns, cgroup));
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("sshd");
    std::fs::copy(kchaos_tests::kct(), &program).unwrap();
    let mut command = Command::new(&program);
    command.arg("wait");
    guarded.place(&mut command);
    let mut sshd = command.spawn().unwrap();
    let words =
        ["inject", "call", "--call", "mkdir", "--errno", ERRNO.0, "--for", "60s", "--host", "--comm", "kct"];
    let kchaos = Kchaos::start(&ns, &words);
    let ends = callers.each_mut().map(|caller| failed(&caller.make("mkdir", COUNT)));
    let ended = kchaos.stop();
    sshd.kill().unwrap();
    sshd.wait().unwrap();
    assert_eq!([COUNT, COUNT, 0], ends, "{ended:?}");
    assert_eq!(COUNT, ended.skipped(0, "protected"), "{ended:?}");
}

fn no_more_than_the_limit() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let mut callers = [0; 3].map(|_| Caller::start(&ns, &target));
    let kchaos = Kchaos::run(&ns, &target, &[fault("read", "limit = 1000\nprobability = \"50%\"")]);
    for caller in &mut callers {
        caller.begin("read", 2_000);
    }
    thread::sleep(Duration::from_millis(100));
    let _last = callers.each_mut().map(|caller| caller.make("read-zero", 1_000));
    let ended = kchaos.stop();
    assert_eq!(1_000, ended.count(0, "injected"), "{ended:?}");
    assert!(ended.skipped(0, "limit") > 0, "{ended:?}");
    ended.assert_as_asked(0);
    ended.assert_books(0);
}
