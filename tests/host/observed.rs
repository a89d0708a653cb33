//! What the daemon tells of itself: to systemd, and to Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use kchaos_tests::{
    Cgroup, NetNs,
    daemon::{Daemon, connect_fault},
    slow, wait_for,
};
use nix::sys::signal::Signal;

kchaos_tests::tests! {
    needs(once): systemd_hears_of_its_life;
    needs(once, CgroupConnect): every_metric_has_a_row;
}

/// The test's end of what systemd would listen at.
struct Notified {
    socket: UnixDatagram,
}

impl Notified {
    /// The next message, within this time.
    fn next(&self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = [0; 256];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8(buffer[..length].to_vec()).unwrap().trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// It is ready when it answers, then alive twice as often as asked for, silent when it is stopped, and says goodbye.
fn systemd_hears_of_its_life() {
    const WATCHDOG: Duration = Duration::from_millis(200);
    let (ns, folder) = (NetNs::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let notified = Notified { socket: UnixDatagram::bind(&path).unwrap() };
    let daemon = Daemon::start_with(tempfile::tempdir().unwrap(), "", |command| {
        ns.place(command);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    });
    let patience = Duration::from_secs(5) * slow();
    assert_eq!(Some("READY=1"), notified.next(patience).as_deref());
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(Some("WATCHDOG=1"), notified.next(patience).as_deref());
    }
    let took = begun.elapsed();
    assert!(took < WATCHDOG / 2 * 10 + WATCHDOG * slow(), "ten signs of life took {took:?}");

    daemon.signal(Signal::SIGSTOP);
    while notified.next(Duration::from_millis(1)).is_some() {}
    assert_eq!(None, notified.next(3 * WATCHDOG));
    daemon.signal(Signal::SIGCONT);
    assert_eq!(Some("WATCHDOG=1"), notified.next(patience).as_deref());

    daemon.signal(Signal::SIGTERM);
    let (code, _folder) = daemon.wait();
    assert_eq!(Some(0), code);
    let last = std::iter::from_fn(|| notified.next(Duration::from_millis(1))).last();
    assert_eq!(Some("STOPPING=1"), last.as_deref());
}

/// The rows of docs/METRICS.md: each metric's type and labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let doc = include_str!("../../docs/METRICS.md");
    let rows = doc.lines().filter(|line| line.starts_with("| `kchaos_"));
    let words = |cell: &str| {
        cell.split(',')
            .map(|word| word.trim().trim_matches('`').to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    };
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), words(cells[3])))
    })
    .collect()
}

/// What a scrape shows: likewise.
fn scraped(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut found: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if line.starts_with("kchaos_") {
            let (name, labels) = line.split_once(['{', ' ']).unwrap();
            let labels = labels.split_once('}').map_or("", |(labels, _)| labels);
            let labels = labels
                .split(',')
                .filter_map(|label| label.split_once('='))
                .map(|(label, _)| label.to_owned());
            found.get_mut(name).unwrap_or_else(|| panic!("{name} has no type")).1.extend(labels);
        }
    }
    found
}

fn scrape(daemon: &Daemon) -> String {
    daemon.say(b"GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

fn every_metric_has_a_row() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    // With something that can stop it, which shows more.
    let stop = "[[stop]]\nname = \"many\"\ncounter = \"injected\"\nwhen = \"> 1000000\"\n";
    daemon.applied(&(connect_fault("life", &cgroup, "30s", 7777) + stop));
    wait_for("it was looked at", Duration::from_secs(5), || {
        scrape(&daemon).contains("stop_condition_value{")
    });
    let answer = scrape(&daemon);
    assert_eq!(documented(), scraped(&answer), "{answer}");
    // Each has a text of its own as well.
    for name in scraped(&answer).keys() {
        assert!(answer.contains(&format!("# HELP {name} ")), "{name} in\n{answer}");
    }
}
