//! configs/queue-back-pressure.toml and configs/worker-killed.toml: a RabbitMQ, a Prometheus that knows how long its queue
//! is, and who sends and takes messages.

use std::{fs, thread, time::Duration};

use kchaos_tests::{
    Cgroup,
    client::Client,
    kchaos::Ended,
    prometheus::Prometheus,
    rabbitmq::{METRICS, RabbitMq},
    wait_for,
};
use tempfile::TempDir;

use super::{Place, SOON, Scenario, assert_falsified, assert_held};

kchaos_tests::tests! {
    needs(together, services, TcIngress, DelayLine): producers_that_are_slowed_down, producers_that_are_not;
    needs(together, services): jobs_that_are_confirmed_when_done, jobs_that_are_confirmed_at_once;
}

const SLOW: &str = include_str!("../../../configs/queue-back-pressure.toml");
const KILLED: &str = include_str!("../../../configs/worker-killed.toml");

/// Everybody who sends and takes messages.
const PEOPLE: &str = include_str!("queue.py");

const PYTHON: &str = "/usr/bin/python3";

/// A broker, and who watches it.
struct Broker {
    prometheus: Prometheus,
    _rabbitmq: RabbitMq,
    script: String,
    folder: TempDir,
    place: Place,
}

impl Broker {
    fn start() -> Self {
        let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
        let script = folder.path().join("queue.py").display().to_string();
        fs::write(&script, PEOPLE).unwrap();
        for name in ["asked", "done"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let rabbitmq = RabbitMq::start(&place.ns, &place.other);
        let at = rabbitmq.metrics();
        let prometheus = Prometheus::start_at(&place.ns, &place.other, 9090, at, METRICS);
        Self { prometheus, _rabbitmq: rabbitmq, script, folder, place }
    }

    /// One of the people, in a cgroup.
    fn person(&self, cgroup: &Cgroup, words: &[&str]) -> Client {
        let words: Vec<&str> = self.script().into_iter().chain(words.iter().copied()).collect();
        // Debian's, which has Debian's packages.
        Client::start(&self.place.ns, cgroup, PYTHON, &words)
    }

    /// What they all do, and where.
    fn script(&self) -> [&str; 2] {
        [self.script.as_str(), self.folder.path().to_str().unwrap()]
    }

    /// Waits until the watcher knows of the queue.
    fn is_watched(&self) {
        let seen =
            || self.prometheus.ask("rabbitmq_queue_messages_ready").is_some_and(|found| !found.is_empty());
        wait_for("the queue is seen", 2 * SOON, || self.place.ns.enter(seen));
    }
}

fn producers_that_are_slowed_down() {
    let (ended, said) = slowed_down("1000");
    assert_held(&ended);
    assert!(said.contains("slowed down"), "{said}");
}

fn producers_that_are_not() {
    assert_falsified(&slowed_down("0").0);
}

/// `most`: how many messages the queue takes; 0 takes all. Also what the producer has said.
fn slowed_down(most: &str) -> (Ended, String) {
    let broker = Broker::start();
    let place = &broker.place;
    let _consumer = broker.person(&place.target, &["consume", most]);
    // Who is not in the target and speaks with the same broker.
    let mut producer = broker.person(&place.other, &["produce", "1500", most]);
    broker.is_watched();
    let scenario = Scenario::shipped(SLOW).with("/system.slice/invoice-worker.service", place.target.name());
    let ended = scenario.shorter("60s", 10).start(place).ended();
    assert!(!producer.has_ended(), "{}", producer.said());
    (ended, producer.said())
}

fn jobs_that_are_confirmed_when_done() {
    let ended = killed("1");
    assert_held(&ended);
    assert!(ended.count(0, "injected") >= 4, "{ended:?}");
}

/// Whoever is killed takes along what it was given.
fn jobs_that_are_confirmed_at_once() {
    let ended = killed("0");
    assert_eq!(Some(1), ended.code, "{ended:?}");
    let reason = ended.json()["verdict"]["reason"].to_string();
    assert!(reason.contains("each invoice once") && reason.contains("was not done"), "{ended:?}");
}

/// `confirms`: whether a job is confirmed when it is done, or as soon as it is given.
fn killed(confirms: &str) -> Ended {
    let broker = Broker::start();
    let place = &broker.place;
    let start = || broker.person(&place.target, &["work", confirms]);
    let mut workers: Vec<Client> = (0..4).map(|_| start()).collect();
    // Most of what they can do, and not in the target.
    let mut asks = broker.person(&place.other, &["ask", "25"]);
    broker.is_watched();

    let [script, folder] = broker.script();
    let check = format!("[{PYTHON:?}, {script:?}, {folder:?}, \"check\"]");
    let mut experiment = Scenario::shipped(KILLED)
        .with("/system.slice/invoice-worker.service", place.target.name())
        .with("[\"/usr/local/bin/check-invoices\"]", &check)
        .with("every = \"20s\"", "every = \"1s\"")
        .with("start_after = \"5s\"", "start_after = \"1s\"")
        .with("tolerate = \"10s\"", "tolerate = \"5s\"")
        .with("interval = \"10s\"", "interval = \"1s\"")
        .with("recovery = \"1m\"", "recovery = \"10s\"")
        .shorter("60s", 10)
        .start(place);
    while experiment.runs() {
        // As their supervisor would.
        for worker in workers.iter_mut().filter_map(|worker| worker.has_ended().then_some(worker)) {
            *worker = start();
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(!asks.has_ended(), "{}", asks.said());
    experiment.ended()
}
