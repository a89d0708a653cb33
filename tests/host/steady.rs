//! Hypotheses about a service, held against what it does: probes before, while and after the faults are on, a load of the
//! experiment's own, and the verdict.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    process::Child,
    thread,
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, daemon::Daemon, kchaos::Ended, redis::Redis, slow, suite::note, traffic::helper,
    wait_for,
};
use nix::sys::signal::Signal;
use serde_json::Value;

kchaos_tests::tests! {
    needs(once, TcEgress): a_bug_is_falsified_and_its_fix_holds, a_halt_is_no_verdict, the_daemon_says_it_too;
    needs(once, together, TcEgress): no_steady_state_no_start, what_hits_nobody_says_nothing, what_was_seen_is_recorded;
}

const SHOP: u16 = 8080;
const CACHE: u16 = 6379;

/// A service, its cache, and where they live.
struct Shop {
    ns: NetNs,
    cgroup: Cgroup,
    child: Child,
    _cache: Redis,
    _caches: Cgroup,
}

impl Shop {
    /// `limit_ms`: for how long it waits for its cache; without one it has its bug.
    fn open(limit_ms: Option<u32>) -> Self {
        let (ns, cgroup, caches) = (NetNs::new(), Cgroup::new("shop"), Cgroup::new("cache"));
        let cache = Redis::start(&ns, &caches, CACHE);
        let (listen, from) = (format!("127.0.0.1:{SHOP}"), format!("127.0.0.1:{CACHE}"));
        let limit = limit_ms.map(|ms| (ms * slow()).to_string());
        let words: Vec<&str> = ["shop", &listen, &from].into_iter().chain(limit.as_deref()).collect();
        let child = helper(&ns, &cgroup, &words).process_group(0).spawn().unwrap();
        let address: SocketAddr = listen.parse().unwrap();
        wait_for("the shop is open", Duration::from_secs(10), || {
            ns.enter(|| TcpStream::connect(address).is_ok())
        });
        Self { ns, cgroup, child, _cache: cache, _caches: caches }
    }

    /// The same experiment for every shop: its cache does not answer.
    fn experiment(&self, name: &str, more: &str) -> String {
        let (bound, seconds) = (300 * slow(), 4 * slow());
        format!(
            "name = \"{name}\"\nhypothesis = \"without its cache the shop answers from its books\"\nduration = \"{seconds}s\"\n\
             baseline = \"2s\"\nrecovery = \"60s\"\n{more}[target]\ncgroup = \"{}\"\n\
             [[fault]]\nkind = \"drop\"\npeer = \":{CACHE}\"\ndirection = \"both\"\n\
             [load]\nhttp = \"http://127.0.0.1:{SHOP}/\"\nrate = {}\ntimeout = \"2s\"\n\
             [[probe]]\nname = \"errors\"\nload = \"error_rate\"\nwindow = \"2s\"\nexpect = \"< 1%\"\ninterval = \"250ms\"\n\
             [[probe]]\nname = \"answers in time\"\nload = \"p99\"\nwindow = \"2s\"\nexpect = \"< {bound}ms\"\ninterval = \"250ms\"\n",
            self.cgroup.name(),
            20 / slow().min(10)
        )
    }

    fn start(&self, text: &str, words: &[&str]) -> (tempfile::NamedTempFile, Kchaos) {
        let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
        fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let kchaos = Kchaos::spawn(&[&["run", &path], words].concat(), |command| self.ns.place(command));
        (file, kchaos)
    }

    fn run(&self, text: &str, words: &[&str]) -> Ended {
        self.start(text, words).1.wait()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn verdict(ended: &Ended) -> (String, String) {
    let verdict = &ended.json()["verdict"];
    let text = |key: &str| verdict[key].as_str().unwrap_or_else(|| panic!("no {key}: {ended:?}")).to_owned();
    (text("verdict"), text("reason"))
}

/// The same experiment on a service that waits for its cache and on one that does not, again and again: two pairs at a
/// time.
fn a_bug_is_falsified_and_its_fix_holds() {
    let rounds: usize = std::env::var("KCHAOS_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let pairs: Vec<(Ended, Ended)> = (0..rounds.div_ceil(2))
        .flat_map(|_| {
            thread::scope(|scope| {
                let shops = [None, Some(50), None, Some(50)];
                let running = shops.map(|limit| {
                    scope.spawn(move || {
                        let shop = Shop::open(limit);
                        shop.run(&shop.experiment("no-cache", ""), &[])
                    })
                });
                let [bug, fix, other_bug, other_fix] = running.map(|thread| thread.join().unwrap());
                [(bug, fix), (other_bug, other_fix)]
            })
        })
        .collect();
    let mut back = Vec::new();
    for (bug, fix) in &pairs {
        assert_eq!(Some(1), bug.code, "{bug:?}");
        let (word, reason) = verdict(bug);
        assert_eq!("falsified", word, "{bug:?}");
        assert!(reason.contains("answers in time") || reason.contains("errors"), "{reason}");
        assert_eq!(Some(0), fix.code, "{fix:?}");
        assert_eq!("held", verdict(fix).0, "{fix:?}");
        let json = bug.json();
        back.push(json["recovery_seconds"].as_f64().unwrap_or_else(|| panic!("it never came back: {json}")));
        for ended in [bug, fix] {
            ended.assert_books(0);
            assert!(ended.count(0, "injected") > 0, "{ended:?}");
        }
        let probe = &json["probes"][1];
        let number = |key: &str| probe[key].as_f64().unwrap_or_else(|| panic!("no {key}: {json}"));
        assert!(number("worst") > number("baseline") * 3.0, "{probe}");
        // The window of the load is two seconds, and a request may take as long before it shows.
        assert!((0.0..3.9 * f64::from(slow())).contains(&number("broke_at")), "{probe}");
    }
    note(&format!(
        "{} of {} pairs: falsified with the bug, held without; the one with the bug was back after {back:.1?} s",
        pairs.len(),
        pairs.len()
    ));
}

/// Nothing is applied where something is wrong already.
fn no_steady_state_no_start() {
    let shop = Shop::open(Some(50));
    let wrong = shop.experiment("x", "").replace("expect = \"< 1%\"", "expect = \"> 50%\"");
    let ended = shop.run(&wrong, &[]);
    assert_eq!(Some(5), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("no steady state to begin with: \\\"errors\\\""), "{ended:?}");
    let nobody =
        "[[probe]]\nprometheus = { url = \"http://127.0.0.1:1\", query = \"up\" }\nexpect = \"> 0\"\n";
    let begun = std::time::Instant::now();
    let ended = shop.run(&(shop.experiment("x", "") + nobody), &[]);
    assert_eq!(Some(5), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("cannot be measured"), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(30) * slow());
}

/// One that is halted or interrupted is stopped, whatever the probes say.
fn a_halt_is_no_verdict() {
    let shop = Shop::open(None);
    let long = shop.experiment("x", "").replace("duration = \"", "duration = \"1");
    for signal in [None, Some(Signal::SIGINT)] {
        let (_file, kchaos) = shop.start(&long, &[]);
        wait_for("it injects", Duration::from_secs(30), || kchaos.held().armed());
        thread::sleep(Duration::from_secs(1));
        match signal {
            Some(signal) => kchaos.signal(signal),
            None => assert_eq!(Some(0), kchaos_tests::kchaos::run(&["halt", "--all"]).code),
        }
        let ended = kchaos.wait();
        assert_eq!(Some(3), ended.code, "{ended:?}");
        assert_eq!("stopped", verdict(&ended).0);
    }
}

/// In shadow mode, and where nothing matches.
fn what_hits_nobody_says_nothing() {
    let shop = Shop::open(None);
    let text = shop.experiment("x", "");
    let elsewhere = text.replace(&format!("peer = \":{CACHE}\""), "peer = \":1\"");
    for (text, words, why) in [(&text, &["--shadow"][..], "shadow"), (&elsewhere, &[][..], "nothing matched")]
    {
        let ended = shop.run(text, words);
        assert_eq!(Some(5), ended.code, "{ended:?}");
        let (word, reason) = verdict(&ended);
        assert_eq!("inconclusive", word, "{ended:?}");
        assert!(reason.contains(why), "{reason}");
    }
}

/// Counts in the record are those of the kernel, and the last of those over time is the final one.
fn what_was_seen_is_recorded() {
    let shop = Shop::open(None);
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("records");
    let ended = shop
        .run(&shop.experiment("no-cache", "tags = [\"redis\"]\n"), &["--record", place.to_str().unwrap()]);
    assert_eq!(Some(1), ended.code, "{ended:?}");
    let runs: Vec<_> = fs::read_dir(&place).unwrap().flatten().map(|entry| entry.path()).collect();
    let [run] = &runs[..] else { panic!("{runs:?}") };
    let text = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    let record: Value = serde_json::from_str(&text("record.json")).unwrap();
    assert_eq!("falsified", record["verdict"]["verdict"], "{record}");
    let injected = ended.count(0, "injected");
    assert_eq!(injected, record["result"]["faults"][0]["injected"].as_u64().unwrap());
    let counts = record["injections"][0]["counts"].as_array().unwrap();
    assert_eq!(injected, counts.last().unwrap()[1].as_u64().unwrap(), "{counts:?}");
    assert!(counts.len() >= 3, "{counts:?}");
    assert_eq!(ended.json()["probes"], record["probes"]);
    assert!(text("record.md").contains("FAILED HYPOTHESIS"), "{}", text("record.md"));
    assert!(text("record.html").contains("<svg"));
    let found =
        kchaos_tests::kchaos::run(&["record", "search", "redis", "8080", "--dir", place.to_str().unwrap()]);
    assert!(found.code == Some(0) && found.stdout.contains("no-cache"), "{found:?}");
    // Where it cannot be kept nothing is applied.
    fs::write(folder.path().join("file"), "").unwrap();
    let nowhere = folder.path().join("file/records");
    let ended = shop.run(&shop.experiment("x", ""), &["--record", nowhere.to_str().unwrap()]);
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("records cannot be kept"), "{ended:?}");
}

fn the_daemon_says_it_too() {
    let shop = Shop::open(None);
    let daemon = Daemon::start(&shop.ns, "");
    daemon.applied(&shop.experiment("no-cache", ""));
    let status: Value = daemon.ended("no-cache", Duration::from_secs(90));
    assert_eq!("falsified", status["verdict"]["verdict"], "{status}");
    assert_eq!("completed", status["end"], "{status}");
    let record = daemon.ask(&["record", "no-cache"]);
    assert_eq!("falsified", record["verdict"]["verdict"], "{record}");
    assert_eq!(2, record["probes"].as_array().unwrap().len());
    assert_eq!(Some(1), daemon.run(&["status", "no-cache", "--watch"]).code);
    // One that never began is found later, too.
    let wrong = shop.experiment("too-early", "").replace("expect = \"< 1%\"", "expect = \"> 50%\"");
    let refused = daemon.apply(&wrong);
    assert_eq!(Some(5), refused.code, "{refused:?}");
    assert_eq!(Some(5), daemon.run(&["status", "too-early", "--watch"]).code);
    let records = daemon.socket().with_file_name("records");
    let listed = kchaos_tests::kchaos::run(&["record", "list", "--dir", records.to_str().unwrap()]);
    assert!(listed.stdout.contains("no-cache") && listed.stdout.contains("too-early"), "{listed:?}");
}
