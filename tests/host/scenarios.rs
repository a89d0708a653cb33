//! The scenarios in configs/, as they are shipped, on real services: one that is built for what happens, which holds,
//! and one with the fault that the scenario is there to find, which is falsified.
//!
//! Services live in a namespace of the test, with the ports and addresses that the files name: so nothing has to be
//! changed in a file but the target, and its times, which are long because people watch. A neighbour that needs the same
//! servers is asked all the time and notices nothing.

pub mod cache;
pub mod database;
pub mod disk;
pub mod downstream;
pub mod failover;
pub mod instance;
pub mod loss;
pub mod memory;
pub mod names;
pub mod queue;
pub mod zone;

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kchaos_tests::{Cgroup, Kchaos, NetNs, kchaos::Ended, slow, suite::note, traffic::helper, wait_for};
use tempfile::NamedTempFile;

/// Where the service is asked.
pub const SERVICE: u16 = 8080;
/// Where its neighbour is.
pub const NEIGHBOUR: u16 = 8081;
/// Where both are, and most servers.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// For whatever happens at once.
pub const SOON: Duration = Duration::from_secs(10);

/// Where an experiment takes place.
pub struct Place {
    /// Everything is in here.
    pub ns: NetNs,
    /// The service.
    pub target: Cgroup,
    /// Its neighbour, and all servers.
    pub other: Cgroup,
}

impl Place {
    /// A new one.
    pub fn new() -> Self {
        Self { ns: NetNs::new(), target: Cgroup::new("target"), other: Cgroup::new("other") }
    }

    /// Starts a service of ours, `kct WORDS PORT ...`, in the target or beside it.
    pub fn start(&self, cgroup: &Cgroup, port: u16, verb: &str, words: &[&str]) -> Running {
        let listen = SocketAddr::from(([127, 0, 0, 1], port)).to_string();
        let child = helper(&self.ns, cgroup, &[&[verb, &listen], words].concat()).spawn().unwrap();
        let running = Running(child);
        wait_for("it is open", SOON, || self.ns.enter(|| TcpStream::connect(&listen).is_ok()));
        running
    }

    /// The status and the text of an answer; `None` if there is none within a second, or a slow machine's multiple of it.
    pub fn ask(&self, port: u16, path: &str) -> Option<(u16, String)> {
        self.ns.enter(|| ask(port, path))
    }
}

/// A process of ours; killed when dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn ask(port: u16, path: &str) -> Option<(u16, String)> {
    let limit = Duration::from_secs(1) * slow();
    let mut connection = TcpStream::connect_timeout(&SocketAddr::new(HERE, port), limit).ok()?;
    connection.set_read_timeout(Some(limit)).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (head, text) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, text.to_owned()))
}

/// An answer, if there was one in time, and when it was there.
pub type Look = (Option<(u16, String)>, Duration);

/// Somebody who asks the same thing again and again.
pub struct Asking {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Look>>>,
}

impl Asking {
    /// Begins, five times in a second.
    pub fn start(place: &Place, port: u16, path: &'static str) -> Self {
        Self::start_every(Duration::from_millis(200), place, port, path)
    }

    /// The same with another pause.
    pub fn start_every(pause: Duration, place: &Place, port: u16, path: &'static str) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let looks = move || {
            let mut seen = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                seen.push((ask(port, path), begun.elapsed()));
                thread::sleep(pause * slow());
            }
            seen
        };
        // Threads stay in the namespace that they are started in.
        Self { end, thread: Some(place.ns.enter(|| thread::spawn(looks))) }
    }

    /// Ends, and answers with all answers.
    pub fn looks(mut self) -> Vec<Look> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }

    /// Ends, and expects that every answer was good, and in time.
    pub fn assert_well(self) {
        let looks = self.looks();
        let is_wrong = |look: &&Look| look.0.as_ref().is_none_or(|(status, _)| *status != 200);
        let wrong: Vec<&Look> = looks.iter().filter(is_wrong).collect();
        assert!(wrong.is_empty() && looks.len() > 5, "{wrong:?} of {}", looks.len());
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

/// A file of configs/.
pub struct Scenario {
    text: String,
}

impl Scenario {
    /// As it is shipped.
    pub fn shipped(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// With something else in one place, which must be there.
    pub fn with(mut self, old: &str, new: &str) -> Self {
        assert!(self.text.contains(old), "{old:?} is not in the file:\n{}", self.text);
        self.text = self.text.replace(old, new);
        self
    }

    /// With a target of our own, as every file tells to.
    pub fn on(self, cgroup: &Cgroup) -> Self {
        self.with("/system.slice/checkout.service", cgroup.name())
    }

    /// In a shorter time, after a shorter look at the steady state.
    pub fn shorter(self, from: &str, to: u32) -> Self {
        let seconds = to * slow();
        let new = format!("\nduration = \"{seconds}s\"\nbaseline = \"3s\"\n");
        self.with(&format!("\nduration = \"{from}\"\n"), &new)
    }

    /// Starts it.
    pub fn start(&self, place: &Place) -> Experiment {
        let file = NamedTempFile::with_suffix(".toml").unwrap();
        std::fs::write(file.path(), &self.text).unwrap();
        let path = file.path().to_str().unwrap();
        let kchaos = Kchaos::spawn(&["run", path], |command| place.ns.place(command));
        Experiment { kchaos, _file: file }
    }

    /// Runs it while the neighbour is asked, and expects that this one notices nothing.
    pub fn run(&self, place: &Place) -> Ended {
        let neighbour = Asking::start(place, NEIGHBOUR, "/");
        let ended = self.start(place).ended();
        assert!(matches!(ended.code, Some(0 | 1 | 3)), "it has not begun: {ended:?}");
        neighbour.assert_well();
        ended
    }
}

/// One that runs.
pub struct Experiment {
    kchaos: Kchaos,
    _file: NamedTempFile,
}

impl Experiment {
    /// Waits until its faults are on.
    pub fn injects(&mut self) {
        wait_for("it injects", 3 * SOON, || !self.runs() || self.kchaos.held().armed());
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.kchaos.runs()
    }

    /// Waits for its end.
    pub fn ended(self) -> Ended {
        self.kchaos.wait()
    }
}

/// Expects that the hypothesis held and that this says something.
pub fn assert_held(ended: &Ended) {
    assert_verdict(ended, 0, "held");
}

/// Expects that the hypothesis did not hold, by a probe and not because the steady state never came back.
pub fn assert_falsified(ended: &Ended) {
    assert_verdict(ended, 1, "falsified");
    let json = ended.json();
    let probes = json["probes"].as_array().unwrap();
    assert!(probes.iter().any(|probe| probe["broke_at"].is_number()), "{json}");
    assert!(json["recovery_seconds"].is_number(), "all is as before: {json}");
}

fn assert_verdict(ended: &Ended, code: i32, word: &str) {
    assert_eq!(Some(code), ended.code, "{ended:?}");
    let json = ended.json();
    assert_eq!(word, json["verdict"]["verdict"], "{json}");
    let injected: Vec<u64> =
        (0..json["faults"].as_array().unwrap().len()).map(|fault| ended.count(fault, "injected")).collect();
    assert!(injected.iter().sum::<u64>() > 0, "{json}");
    note(&format!("{word}, {injected:?} injected: {}", json["verdict"]["reason"]));
}

/// The same experiment on a good service, on which it holds, and on a bad one, on which it does not.
pub fn both(good: impl FnOnce() -> Ended + Send, bad: impl FnOnce() -> Ended + Send) {
    let (good, bad) = both_ended(good, bad);
    assert_held(&good);
    assert_falsified(&bad);
}

/// Both at the same time.
pub fn both_ended(good: impl FnOnce() -> Ended + Send, bad: impl FnOnce() -> Ended + Send) -> (Ended, Ended) {
    let (good, bad) = thread::scope(|scope| {
        let (good, bad) = (scope.spawn(good), scope.spawn(bad));
        (good.join(), bad.join())
    });
    let [good, bad] = [good, bad].map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    (good, bad)
}

/// Expects that the service answers well, and at once.
pub fn assert_well(place: &Place, path: &str) {
    let answer = place.ask(SERVICE, path);
    assert_eq!(Some(200), answer.as_ref().map(|(status, _)| *status), "{path}: {answer:?}");
}
