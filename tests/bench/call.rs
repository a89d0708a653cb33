//! What calls cost, in instructions: without kchaos, beside a target, in it, and when it is over. Only in a guest that
//! counts instructions (see `kct cost`), where the same call takes the same number every time.

use std::{
    env,
    fs::File,
    io::Write as _,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    process::Child,
    time::Duration,
};

use kchaos_tests::{Cgroup, Kchaos, NetNs, traffic::helper, wait_for};
use serde_json::json;
use tempfile::NamedTempFile;

/// What is called; the bar is for the first.
const CALLS: [&str; 4] = ["read", "write", "open", "send"];

/// Who calls, and by which part of what it takes without kchaos it may take more.
const WHO: [(&str, Option<f64>); 6] = [
    ("beside a packet fault", Some(0.01)),
    (OUTSIDE, Some(0.35)),
    ("in the target, no rule fits", None),
    ("in the target, passes", None),
    ("in the target, fails", None),
    ("when it is over", Some(0.01)),
];

const OUTSIDE: &str = "outside";

/// Measures every call by everybody; says whether a bar was missed. In the short version `slack` times as much may be
/// added.
pub fn run(slack: f64) -> bool {
    let place = Place { ns: NetNs::new(), target: Cgroup::new("target"), beside: Cgroup::new("beside") };
    // It may be a serial port, which must not become our terminal.
    let open = |path| File::options().append(true).custom_flags(libc::O_NOCTTY).open(path);
    let mut report = env::var_os("KCHAOS_REPORT").map(|path| open(path).expect("the report can be written"));
    let mut missed = false;
    println!("\n{:<38} {:>12} {:>9}  bar", "a call, in instructions", "measured", "against");
    for call in CALLS {
        let (without, with) = place.takes(call);
        say(report.as_mut(), call, "without kchaos", without);
        println!("{:<38} {without:>12}", format!("{call}: without kchaos"));
        for ((who, bar), takes) in WHO.into_iter().zip(with) {
            say(report.as_mut(), call, who, takes);
            let ratio = takes as f64 / without as f64;
            // What was asked for in advance is about reads; leaving no trace is asked of all.
            let bar = bar.filter(|_| call == CALLS[0] || who != OUTSIDE).map(|more| 1.0 + more * slack);
            let met = bar.is_none_or(|bar| ratio <= bar);
            let verdict = bar.map_or(String::new(), |bar| {
                format!("at most {bar:.2} x: {}", if met { "met" } else { "MISSED" })
            });
            let line = format!("{:<38} {takes:>12} {ratio:>7.2} x  {verdict}", format!("{call}: {who}"));
            println!("{}", line.trim_end());
            missed |= !met;
        }
    }
    missed
}

struct Place {
    ns: NetNs,
    target: Cgroup,
    beside: Cgroup,
}

impl Place {
    /// What a call takes without kchaos, and whom with it, in the order of [`WHO`].
    fn takes(&self, call: &str) -> (u64, [u64; 6]) {
        let mut beside = Caller::start(&self.ns, &self.beside, call);
        let mut target = Caller::start(&self.ns, &self.target, call);
        let without = beside.takes();
        let packets = self.during("kind = \"drop\"\npeer = \"192.0.2.1\"", || beside.takes());
        let fault = |more: &str| format!("kind = \"call\"\ncall = \"{call}\"\nerrno = \"EIO\"\n{more}");
        let [outside, unfit] = self.during(&fault("uid = 4242"), || [beside.takes(), target.takes()]);
        let passes = self.during(&fault("probability = 0.000001"), || target.takes());
        let fails = self.during(&fault(""), || target.takes());
        (without, [packets, outside, unfit, passes, fails, beside.takes()])
    }

    /// Something while a fault stands in the target.
    fn during<T>(&self, fault: &str, what: impl FnOnce() -> T) -> T {
        let kchaos = Kchaos::run(&self.ns, &self.target, &[fault.to_owned()]);
        let found = what();
        kchaos.stop();
        found
    }
}

/// A process that makes one call in rounds.
struct Caller {
    child: Child,
    board: NamedTempFile,
    round: u64,
}

impl Caller {
    fn start(ns: &NetNs, cgroup: &Cgroup, call: &str) -> Self {
        let board = NamedTempFile::new().unwrap();
        board.as_file().set_len(3 * 8).unwrap();
        let words = ["cost", board.path().to_str().unwrap(), call];
        let child = helper(ns, cgroup, &words).spawn().unwrap();
        let this = Self { child, board, round: 0 };
        wait_for("the caller is ready", Duration::from_secs(10), || this.word(1) == u64::MAX);
        this
    }

    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.board.as_file().read_exact_at(&mut bytes, at * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// What the call takes at least.
    fn takes(&mut self) -> u64 {
        self.round += 1;
        self.board.as_file().write_all_at(&self.round.to_ne_bytes(), 0).unwrap();
        wait_for("the calls are made", Duration::from_secs(30), || self.word(1) == self.round);
        self.word(2)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn say(report: Option<&mut File>, call: &str, who: &str, instructions: u64) {
    if let Some(report) = report {
        let line = json!({ "call": call, "who": who, "instructions": instructions }).to_string() + "\n";
        report.write_all(line.as_bytes()).expect("the report can be written");
    }
}
