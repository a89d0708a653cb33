//! What stands in a record is what others saw: the target itself, the kernel's counters, a real Prometheus; and those who
//! asked to be told are told.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    daemon::{Daemon, connect_fault},
    prometheus::Prometheus,
    suite::note,
    traffic::calls,
    wait_for,
};
use nix::sys::signal::Signal;
use serde_json::Value;

kchaos_tests::tests! {
    needs(services, together, CgroupConnect): everybody_counts_the_same;
    needs(once, CgroupConnect): those_who_asked_are_told;
}

/// Nobody listens there.
const PORT: u16 = 6001;

const METRICS: u16 = 9187;

/// How many connects the target makes.
const CONNECTS: u64 = 2000;

const SOON: Duration = Duration::from_secs(10);

/// Half of all connects fail with an errno that nothing else gives: the target counts them, the kernel does, Prometheus has
/// seen it, and all of it is in the record, to the unit.
fn everybody_counts_the_same() {
    let (ns, target, other) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("prometheus"));
    let metrics = SocketAddr::from(([127, 0, 0, 1], METRICS));
    let daemon = Daemon::start(&ns, &format!("metrics = \"{metrics}\"\n"));
    let prometheus = Prometheus::start(&ns, &other, 9790, metrics);
    let fault = connect_fault("half", &target, "8s", PORT);
    let probe =
        format!("[[probe]]\ntcp = {{ connect = \"{metrics}\", within = \"1s\" }}\ninterval = \"500ms\"\n");
    daemon.applied(&format!("baseline = \"1s\"\n{fault}probability = \"50%\"\n{probe}"));
    wait_for("the faults are on", SOON, || daemon.status("half")["phase"] == "running");
    let words = ["connect", &format!("127.0.0.1:{PORT}"), &CONNECTS.to_string()];
    let seen = calls(&ns, &target, &words).failed.get(&libc::EPERM).copied().unwrap_or_default();
    assert!((1..CONNECTS).contains(&seen), "{seen} of {CONNECTS}");
    let query = "kchaos_injected_total{experiment=\"half\"}".replace('"', "%22");
    let mut scraped = None;
    wait_for("Prometheus has it", SOON, || {
        scraped = ns.enter(|| prometheus.ask(&query));
        scraped.as_ref().is_some_and(|found| *found == [seen.to_string()])
    });
    let status = daemon.ended("half", SOON * 2);
    assert_eq!("held", status["verdict"]["verdict"], "{status}");
    // Nothing came after it was looked at.
    assert_eq!(
        Some(vec![seen.to_string()]),
        ns.enter(|| prometheus.ask(&format!("max_over_time({query}[1m])")))
    );
    let result = daemon.ask(&["record", "half"]);
    assert_eq!(Some(seen), result["faults"][0]["injected"].as_u64(), "{result}");
    let folder = daemon.socket().with_file_name("records");
    let run = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let record: Value = serde_json::from_slice(&fs::read(run.join("record.json")).unwrap()).unwrap();
    assert_eq!(Some(seen), record["result"]["faults"][0]["injected"].as_u64(), "{record}");
    let counts = record["injections"][0]["counts"].as_array().unwrap();
    assert_eq!(Some(seen), counts.last().unwrap()[1].as_u64(), "{counts:?}");
    note(&format!("{seen} of {CONNECTS} connects: the target, the kernel, Prometheus and the record agree"));
}

/// A request: its first line, and its body.
type Request = (String, Vec<u8>);

/// Takes requests, one for each connection, and answers all of them as a Grafana would.
fn receiver(ns: &NetNs) -> (SocketAddr, Receiver<Request>) {
    let listener = ns.enter(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let (mut first, mut length) = (String::new(), 0);
            connection.read_line(&mut first).unwrap();
            loop {
                let mut line = String::new();
                connection.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            connection.read_exact(&mut body).unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{\"id\":7}";
            connection.get_mut().write_all(answer.as_bytes()).unwrap();
            if sender.send((first.trim().to_owned(), body)).is_err() {
                break;
            }
        }
    });
    (address, requests)
}

fn those_who_asked_are_told() {
    let (ns, target) = (NetNs::new(), Cgroup::new("target"));
    let (address, requests) = receiver(&ns);
    let url = format!("http://{address}");
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let annotate =
        format!("[annotate]\ngrafana = {{ url = \"{url}\" }}\nopentelemetry = {{ url = \"{url}\" }}\n");
    fs::write(file.path(), connect_fault("told", &target, "2s", PORT) + &annotate).unwrap();
    let words = ["run", file.path().to_str().unwrap()];
    let ended = Kchaos::spawn(&words, |command| ns.place(command)).wait();
    assert_eq!(Some(0), ended.code, "{ended:?}");
    let mut all: Vec<Request> = (0..4).map(|_| requests.recv_timeout(SOON).unwrap()).collect();
    all.sort();
    let firsts: Vec<&str> = all.iter().map(|(first, _)| first.as_str()).collect();
    let [patch, annotation, event] =
        ["PATCH /api/annotations/7 HTTP/1.1", "POST /api/annotations HTTP/1.1", "POST /v1/logs HTTP/1.1"];
    assert_eq!([patch, annotation, event, event], *firsts);
    let [end, begin] = [0, 1].map(|index| serde_json::from_slice::<Value>(&all[index].1).unwrap());
    let shaded = end["timeEnd"].as_u64().unwrap() - begin["time"].as_u64().unwrap();
    assert!((1900..=4000).contains(&shaded), "{shaded} ms for a time box of 2 s");
    assert!(begin["text"].as_str().unwrap().contains(target.name()), "{begin}");
    for name in ["kchaos.experiment.started", "kchaos.experiment.ended"] {
        let told = |(_, body): &Request| body.windows(name.len()).any(|window| window == name.as_bytes());
        assert_eq!(1, all[2..].iter().filter(|request| told(request)).count(), "{name}");
    }
    // A daemon that ends tells it of what ends with it, and waits for that.
    let daemon = Daemon::start(&ns, &format!("[annotate]\ngrafana = {{ url = \"{url}\" }}\n"));
    daemon.applied(&connect_fault("told", &target, "60s", PORT));
    assert_eq!("POST /api/annotations HTTP/1.1", requests.recv_timeout(SOON).unwrap().0);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(Some(0), daemon.wait().0);
    let told = requests.try_recv().unwrap();
    assert_eq!("PATCH /api/annotations/7 HTTP/1.1", told.0);
}
