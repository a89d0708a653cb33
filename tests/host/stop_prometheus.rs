//! A real Prometheus that scrapes a real service: what it sees of the fault ends the experiment, and so does its own end.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use kchaos_tests::{Cgroup, NetNs, nginx::Nginx, prometheus::Prometheus, suite::note, wait_for};
use nix::sys::signal::Signal;

use crate::stop::{start, stopped, within};

kchaos_tests::tests! {
    needs(services, TcEgress): what_it_sees_of_the_fault_ends_it, one_that_is_killed_ends_it, one_that_hangs_ends_it,
        no_numbers_are_no_answer;
}

const SERVICE: u16 = 8090;
const ITS_OWN: u16 = 9790;

/// For a busy machine, and for the end itself: packets that wait are delivered for up to a second.
const SLACK: Duration = Duration::from_secs(2);

/// A service with a page of metrics, and who scrapes it.
struct Scene {
    prometheus: Prometheus,
    _nginx: Nginx,
    service: Cgroup,
    _other: Cgroup,
    ns: NetNs,
}

impl Scene {
    fn new() -> Self {
        let (ns, service, other) = (NetNs::new(), Cgroup::new("service"), Cgroup::new("prometheus"));
        let nginx = Nginx::start(&ns, &service, SERVICE, &[("metrics", 0)]);
        fs::write(nginx.root().join("metrics"), "shop_requests_total 7\n").unwrap();
        let target = SocketAddr::from(([127, 0, 0, 1], SERVICE));
        let prometheus = Prometheus::start(&ns, &other, ITS_OWN, target);
        Self { prometheus, _nginx: nginx, service, _other: other, ns }
    }

    fn condition(&self, query: &str, rest: &str) -> String {
        let url = self.prometheus.url();
        format!(
            "[[stop]]\nname = \"users are hurt\"\nprometheus = {{ url = \"{url}\", query = '{query}' }}\n{rest}"
        )
    }
}

/// The service answers 300 ms late, which Prometheus measures. From the moment at which a query of ours shows it, `for`
/// and an interval may pass, and nothing before that.
fn what_it_sees_of_the_fault_ends_it() {
    let scene = Scene::new();
    let [held_for, interval] = [Duration::from_secs(2), Duration::from_millis(500)];
    let stops = scene.condition(
        "scrape_duration_seconds{job=\"shop\"}",
        "when = \"> 0.25\"\nfor = \"2s\"\ninterval = \"500ms\"",
    );
    let fault = "kind = \"delay\"\ndelay = \"300ms\"\ndirection = \"egress\"\nlocal_port = 8090";
    let kchaos = start(&scene.ns, &scene.service, fault, &stops);
    let armed = Instant::now();
    wait_for("Prometheus sees the fault", Duration::from_secs(10), || {
        scene
            .ns
            .enter(|| scene.prometheus.ask("scrape_duration_seconds>0.25"))
            .is_some_and(|found| !found.is_empty())
    });
    let seen = armed.elapsed();
    let (ended, took) = within(held_for + interval + SLACK, kchaos);
    let why = stopped(&ended, "users are hurt");
    assert!(why.contains("scrape_duration_seconds{instance=") && why.contains("(> 0.25)"), "{why}");
    assert!(took >= held_for.saturating_sub(interval), "{took:?} is less than it had to hold");
    assert!(ended.count(0, "injected") > 0, "{ended:?}");
    note(&format!("seen {seen:?} after the start, ended {took:?} later, with for = 2s and interval = 500ms"));
}

fn one_that_is_killed_ends_it() {
    let scene = Scene::new();
    let stops = scene.condition("up == 0", "interval = \"500ms\"");
    let kchaos = start(&scene.ns, &scene.service, "kind = \"drop\"\nprotocol = \"udp\"", &stops);
    std::thread::sleep(Duration::from_millis(1200));
    assert!(kchaos.held().armed(), "all is well, and it goes on");
    scene.prometheus.signal(Signal::SIGKILL);
    let (ended, took) = within(Duration::from_millis(500) + SLACK, kchaos);
    let why = stopped(&ended, "users are hurt");
    assert!(why.starts_with("cannot be evaluated: http://127.0.0.1:9790/: "), "{why}");
    note(&format!("ended {took:?} after the kill, with interval = 500ms"));
}

/// One that takes connections and does not answer, for as long as `for` says.
fn one_that_hangs_ends_it() {
    let scene = Scene::new();
    let stops = scene.condition("up == 0", "interval = \"500ms\"\ntimeout = \"500ms\"\nfor = \"1s\"");
    let kchaos = start(&scene.ns, &scene.service, "kind = \"drop\"\nprotocol = \"udp\"", &stops);
    scene.prometheus.signal(Signal::SIGSTOP);
    let (ended, took) = within(Duration::from_secs(2) + SLACK, kchaos);
    let why = stopped(&ended, "users are hurt");
    assert!(why.contains("no answer within 500ms, for 1s"), "{why}");
    assert!(took >= Duration::from_millis(900), "{took:?}");
}

/// A comparison with nothing, and a query that cannot be read.
fn no_numbers_are_no_answer() {
    let scene = Scene::new();
    let run = |stops: &str| {
        let file = crate::stop::write(&scene.service, "kind = \"drop\"\nprotocol = \"udp\"", stops);
        let words = ["run", file.path().to_str().unwrap()];
        kchaos_tests::Kchaos::spawn(&words, |command| scene.ns.place(command)).wait()
    };
    let ended = run(&scene.condition("rate(nobody_has_this[1m])", "when = \"> 0.02\""));
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("no number to compare"), "{ended:?}");
    let ended = run(&scene.condition("0 / vector(0)", "when = \"> 0.02\""));
    assert_eq!(Some(4), ended.code, "NaN is no number: {ended:?}");
    let ended = run(&scene.condition("rate(", "on_error = \"ignore\""));
    assert_eq!(Some(2), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("cannot read the query"), "{ended:?}");
    let ended = run(&scene.condition("up == 1", ""));
    assert_eq!(Some(3), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("holds already: up{instance="), "{ended:?}");
}
