//! Real servers whose calls fail: a database that cannot read some of its pages, one that cannot write its log, a web
//! server without descriptors. Each says so to its clients, loses nothing that it has acknowledged, and is well again
//! afterwards; a neighbour does not notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    caller::{Caller, Ends},
    nginx::{Nginx, statuses},
    postgres::Postgres,
    redis::Redis,
    wait_for,
};
use tempfile::TempDir;

kchaos_tests::tests! {
    needs(calls, servers): a_database_that_cannot_read, a_log_on_a_full_disk, a_web_server_without_descriptors;
}

/// For whatever happens at once, and for whatever answers.
const SOON: Duration = Duration::from_secs(5);

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// One `[[fault]]`.
fn fault(call: &str, errno: &str, more: &str, paths: &[&Path]) -> String {
    format!("kind = \"call\"\ncall = \"{call}\"\nerrno = \"{errno}\"\npath = {paths:?}\n{more}")
}

/// What Postgres' clients were told while its reads failed.
#[derive(Debug, Default)]
struct Told {
    /// Scans that came to their end.
    scans: u64,
    /// Rows that were acknowledged.
    kept: BTreeSet<u64>,
    /// Pages that could not be read.
    unread: u64,
}

/// A table of 100 pages, which is many more than the server keeps in memory.
const TABLES: &[&str] = &[
    "create table scanned as select n, repeat('x', 1000) as filler from generate_series(1, 700) n",
    "create table kept (n int primary key, filler text)",
    "vacuum (freeze) scanned",
    "checkpoint",
];

const SCAN: &str = "select 'scan', count(*), sum(n), sum(length(filler)) from scanned";

/// What it answers, on every day.
const ANSWER: &str = "scan|700|245350|700000";

/// How many scans and rows a session is told to make.
const ROUNDS: u64 = 60;

impl Told {
    /// Takes in what a client said, and expects that nothing of it is wrong.
    fn hear(&mut self, said: &str) {
        for line in said.lines() {
            if line.starts_with("scan|") {
                assert_eq!(ANSWER, line, "a scan that did not fail is right");
                self.scans += 1;
            } else if let Some(n) = line.strip_prefix("kept|") {
                self.kept.insert(n.parse().unwrap());
            } else if line.contains("could not read block") && line.contains("Input/output error") {
                self.unread += 1;
            } else {
                assert!(!line.contains("ERROR:"), "{line} is no error of a read");
            }
        }
    }
}

/// One read in a hundred below its data directory fails. It says so, goes on, answers nothing that is wrong, and keeps
/// what it has acknowledged.
fn a_database_that_cannot_read() {
    let (ns, target, other) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("other"));
    let mut server = Postgres::start_with(&ns, &target, 5432, &["shared_buffers=128kB"]);
    let psql = |server: &Postgres, statements: &[&str]| {
        let statements: Vec<String> = statements.iter().map(|&statement| statement.to_owned()).collect();
        server.psql_each(&ns, &other, HERE, &statements)
    };
    let made = psql(&server, TABLES).ended(SOON);
    assert_eq!(Some(0), made.0, "{made:?}");
    // Starting a session takes many reads, and one that begins under the fault may not come about.
    let mut session = psql(&server, &[]);
    session.tell("select 'ready';");
    session.says("ready", SOON);
    // In the same place, and not of the target.
    let mut neighbour = Caller::start_in(&ns, &other, &server.data());

    let fault = fault("read", "EIO", "probability = \"1%\"", &[&server.data()]);
    let kchaos = Kchaos::run(&ns, &target, &[fault]);
    for n in 0..ROUNDS {
        session.tell(&format!("{SCAN};"));
        session.tell(&format!("insert into kept values ({n}, repeat('y', 500)) returning 'kept', n;"));
    }
    session.tell("\\q");
    let mut told = Told::default();
    for _newcomer in 0..5 {
        told.hear(&psql(&server, &[SCAN]).ended(SOON).1);
    }
    told.hear(&session.ended(Duration::from_secs(20)).1);
    assert_eq!(Ends::from([(0, 2_000)]), neighbour.make("read", 2_000));
    let ended = kchaos.stop();
    drop(neighbour);

    let log = server.log();
    let what = format!("{told:?} {ended:?}\n{log}");
    let logged = log.matches("Input/output error").count() as u64;
    assert!(told.unread > 0 && told.scans > 0 && !told.kept.is_empty(), "{what}");
    assert!((told.unread..=ended.count(0, "injected")).contains(&logged), "{logged} logged: {what}");
    assert!(!log.contains("PANIC") && !log.contains("was terminated by"), "{what}");
    ended.assert_books(0);

    let (code, said) = psql(&server, &[SCAN, "select 'kept', n from kept"]).ended(SOON);
    assert_eq!((Some(0), Some(ANSWER)), (code, said.lines().next()), "{said}");
    let stored = said.lines().filter_map(|line| line.strip_prefix("kept|")?.parse().ok()).collect();
    assert!(told.kept.is_subset(&stored), "stored {stored:?} after {told:?}");
    let (code, checked) = server.end_and_check(&ns, &other);
    assert_eq!(Some(0), code, "{}", server.log());
    assert!(checked.contains("Bad checksums:  0\n"), "{checked}");
}

/// What one redis-cli is told.
fn redis(server: &Redis, ns: &NetNs, cgroup: &Cgroup, words: &[&str]) -> String {
    server.client(ns, cgroup, HERE, words).ended(SOON).1.trim_end().to_owned()
}

/// Nothing can be appended to its log: it refuses what would change its data, and still answers. When the disk has room
/// again, it takes changes again.
fn a_log_on_a_full_disk() {
    const REFUSED: &str = "MISCONF Errors writing to the AOF file: No space left on device";
    let (ns, target, other) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("other"));
    let folders = [0; 2].map(|_| TempDir::new().unwrap());
    let logs = folders.each_ref().map(|folder| folder.path().join("appendonlydir"));
    let server = Redis::start_appending(&ns, &target, 6379, folders[0].path());
    let neighbour = Redis::start_appending(&ns, &other, 6380, folders[1].path());
    let mut acknowledged = Vec::new();
    let mut set = |server: &Redis, key: &str| {
        let said = redis(server, &ns, &other, &["set", key, "stored"]);
        if said == "OK" {
            acknowledged.push(key.to_owned());
        }
        said
    };
    assert_eq!("OK", set(&server, "before"));

    let fault = fault("write", "ENOSPC", "", &[&logs[0], &logs[1]]);
    let experiment = Kchaos::run_for("10s", &ns, &target, &[fault]);
    // The first one is in memory when its write fails, and written as soon as that works again.
    assert_eq!("OK", set(&server, "first"));
    assert_eq!(REFUSED, set(&server, "second"));
    assert_eq!("stored", redis(&server, &ns, &other, &["get", "before"]));
    assert_eq!("OK", redis(&neighbour, &ns, &other, &["set", "elsewhere", "stored"]));
    let ended = experiment.wait();
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert!(ended.count(0, "injected") > 0, "{ended:?}");
    ended.assert_books(0);

    wait_for("it takes changes again", SOON, || set(&server, "after") == "OK");
    drop(server);
    let again = Redis::start_appending(&ns, &target, 6379, folders[0].path());
    assert_eq!(["before", "first", "after"], *acknowledged);
    for key in &acknowledged {
        assert_eq!("stored", redis(&again, &ns, &other, &["get", key]), "{key} of {acknowledged:?}");
    }
    assert_eq!("", redis(&again, &ns, &other, &["get", "second"]));
}

/// A fifth of its files cannot be opened, and it answers so much and no more with its error.
fn a_web_server_without_descriptors() {
    let count = 500;
    let (ns, target, other) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("other"));
    let server = Nginx::start(&ns, &target, 80, &[("file", 10_000)]);
    let neighbour = Nginx::start(&ns, &other, 81, &[("file", 10_000)]);
    let ask = |port| statuses(&ns, &other, SocketAddr::new(HERE, port), "file", count);
    let all_well = BTreeMap::from([("200".to_owned(), count)]);
    assert_eq!(all_well, ask(80));

    let fault = fault("open", "EMFILE", "probability = \"20%\"", &[server.root(), neighbour.root()]);
    let kchaos = Kchaos::run(&ns, &target, &[fault]);
    let (told, beside) = (ask(80), ask(81));
    let ended = kchaos.stop();
    let what = format!("{told:?} {ended:?}");
    let failed = told.get("500").copied().unwrap_or(0);
    let expected = [("200".to_owned(), count - failed), ("500".to_owned(), failed)];
    assert_eq!(BTreeMap::from(expected), told, "{what}");
    assert_eq!((count, failed), (ended.count(0, "matched"), ended.count(0, "injected")), "{what}");
    assert_share("answered with 500", 0.2, failed, count);
    assert_eq!(all_well, beside);
    assert_eq!(all_well, ask(80));
}
