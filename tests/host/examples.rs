//! The files in configs/ that are no scenarios, as they are shipped: each starts on every kernel that can do what it asks
//! for, on a target of ours, and is refused where it cannot. (Scenarios: [`crate::scenarios`].)

use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use chaos_daemon::{
    bpf::Need,
    config::{self, Experiment},
};
use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    containerd::Containerd,
    kchaos::Ended,
    nginx::Nginx,
    prometheus::Prometheus,
    suite::{Level, facts, note},
    wait_for,
};
use tempfile::{NamedTempFile, TempDir};

kchaos_tests::tests! {
    needs(): those_of_faults;
    needs(services, TcEgress): the_one_with_stop_conditions;
    needs(services, together, TcEgress): the_one_of_a_pod, the_one_with_probes;
    needs(services, together, full CgroupConnect): the_one_of_a_command;
}

/// The name and the text of files.
macro_rules! files {
    ($($name:literal),+) => {
        [$(($name, include_str!(concat!("../../configs/", $name, ".toml")))),+]
    };
}

const FAULTS: [(&str, &str); 18] = files!(
    "burst-loss",
    "call",
    "connect",
    "corrupt",
    "cpu",
    "delay",
    "drop",
    "duplicate",
    "io",
    "kill",
    "lossy-zone",
    "memory",
    "partition",
    "pause",
    "rate",
    "reject",
    "reorder",
    "reset"
);
const OTHERS: [(&str, &str); 4] = files!("command", "pod", "probe", "stop");

const SOON: Duration = Duration::from_secs(20);

/// The text of one of the others.
fn other(name: &str) -> String {
    OTHERS.iter().find(|(known, _)| *known == name).unwrap().1.to_owned()
}

/// With something else in every place where it stands.
fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old:?} is not in the file:\n{text}");
    text.replace(old, new)
}

/// On a target of ours, as every file tells to, and with folders of ours.
fn on(text: &str, cgroup: &Cgroup, folder: &TempDir) -> String {
    let (_, rest) = text.split_once("\ncgroup = \"").unwrap();
    let (theirs, _) = rest.split_once('"').unwrap();
    let mut text = with(text, theirs, cgroup.name());
    for (path, ours) in
        [("/var/lib/checkout\"", "data"), ("/srv/checkout/uploads\"", "uploads"), ("/etc/checkout\"", "etc")]
    {
        let ours = folder.path().join(ours);
        fs::create_dir_all(&ours).unwrap();
        text = text.replace(path, &format!("{}\"", ours.display()));
    }
    text
}

fn run(ns: &NetNs, text: &str) -> (NamedTempFile, Kchaos) {
    let file = NamedTempFile::with_suffix(".toml").unwrap();
    fs::write(file.path(), text).unwrap();
    let kchaos = Kchaos::spawn(&["run", file.path().to_str().unwrap()], |command| ns.place(command));
    (file, kchaos)
}

/// Waits until its faults are on, and ends it.
fn starts(ns: &NetNs, text: &str) -> Ended {
    let (_file, mut kchaos) = run(ns, text);
    wait_for("it injects", SOON, || !kchaos.runs() || kchaos.held().armed());
    assert!(kchaos.runs(), "{:?}", kchaos.wait());
    kchaos.stop()
}

/// Whether this kernel can; `None`: nobody knows in advance.
fn can(experiment: &Experiment) -> Option<bool> {
    let mut needs = experiment.faults.iter().flat_map(|spec| spec.fault.needs());
    let has = |need: &Need| {
        let wanted = if *need == need.feature.in_full() { Level::Yes } else { Level::Degraded };
        facts().level(need.feature) >= wanted
    };
    if !needs.all(has) {
        return Some(false);
    }
    let is = |kinds: &[&str]| experiment.faults.iter().any(|spec| kinds.contains(&spec.fault.kind()));
    // Its fault `call` has a limit, and programs for calls may not hold a lock there.
    if is(&["call"]) && has_no_locks() {
        return Some(false);
    }
    match facts().controllers {
        // Where there are disks.
        true if is(&["io"]) => None,
        controllers => Some(controllers || !is(&["cpu", "memory", "io"])),
    }
}

fn has_no_locks() -> bool {
    facts().line == "5.10"
}

fn those_of_faults() {
    let (ns, folder) = (NetNs::new(), tempfile::tempdir().unwrap());
    for (name, text) in FAULTS {
        let cgroup = if facts().controllers { Cgroup::controlled(name) } else { Cgroup::new(name) };
        let text = on(text, &cgroup, &folder);
        let experiment = config::parse(name, &text, name).unwrap_or_else(|error| panic!("{error}"));
        let can = can(&experiment);
        note(&format!("{name}: {can:?}"));
        if can == Some(true) {
            let ended = starts(&ns, &text);
            assert_eq!(
                experiment.faults.len(),
                ended.json()["faults"].as_array().unwrap().len(),
                "{ended:?}"
            );
        } else if can == Some(false) {
            let ended = run(&ns, &text).1.wait();
            assert_eq!(Some(4), ended.code, "{name}: {ended:?}");
            assert!(ended.stderr.contains("\"message\":"), "{name}: {ended:?}");
            // What is missing, and not what would be wrong if it were there.
            let is_about_locks = ended.stderr.contains("Linux 6.1 can do it");
            assert_eq!(name == "call" && has_no_locks(), is_about_locks, "{name}: {ended:?}");
        }
    }
}

fn the_one_of_a_pod() {
    let containerd = Containerd::start();
    let pods =
        ["checkout-a", "checkout-b"].map(|name| containerd.pod("shop", name, &[("app", "checkout")], true));
    let _containers =
        pods.each_ref().map(|pod| pod.container("web", &["udp-flood", "127.0.0.1:9931", "100000"]));
    let socket = format!("[target]\nruntime = \"{}\"\n", containerd.socket().display());
    let ended = starts(&containerd.ns, &with(&other("pod"), "[target]\n", &socket));
    assert_eq!(1, ended.json()["members"].as_array().unwrap().len(), "half of them: {ended:?}");
}

/// curl asks three times, and there is somebody who would have answered.
fn the_one_of_a_command() {
    let (ns, server) = (NetNs::new(), Cgroup::new("server"));
    let _nginx = Nginx::serving(&ns, &server, 8080, "", "location / { return 200 ok; }");
    let (_file, kchaos) = run(&ns, &other("command"));
    let ended = kchaos.wait();
    assert_eq!(3, ended.count(0, "injected"), "{ended:?}");
    assert!(ended.stderr.contains("curl: (7)"), "{ended:?}");
}

/// What files with conditions and probes look at: a service with its page of metrics, on which requests are counted, and
/// a Prometheus where they say that it is.
fn among_what_is_looked_at(look: impl FnOnce(&NetNs, &Cgroup)) {
    let (ns, service, other) = (NetNs::new(), Cgroup::new("service"), Cgroup::new("prometheus"));
    let nginx = Nginx::start(&ns, &service, 8080, &[("metrics", 0), ("health", 0), ("index.html", 0)]);
    fs::write(nginx.root().join("health"), "ok").unwrap();
    let (root, over) = (nginx.root(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut requests = 0;
            while !over.load(Ordering::Relaxed) {
                requests += 10;
                let text = format!(
                    "http_requests_total{{code=\"200\"}} {requests}\nhttp_requests_total{{code=\"500\"}} 0\n"
                );
                // Never half of it.
                fs::write(root.join("new"), text).unwrap();
                fs::rename(root.join("new"), root.join("metrics")).unwrap();
                thread::sleep(Duration::from_millis(100));
            }
        });
        let ends = Ends(&over);
        let prometheus = Prometheus::start(&ns, &other, 9090, SocketAddr::from(([127, 0, 0, 1], 8080)));
        wait_for("requests are counted", SOON, || {
            // Encoded: rate(http_requests_total{code="200"}[30s])>0
            let query = "rate(http_requests_total%7Bcode%3D%22200%22%7D%5B30s%5D)%3E0";
            let rate = ns.enter(|| prometheus.ask(query));
            rate.is_some_and(|found| !found.is_empty())
        });
        look(&ns, &service);
        drop(ends);
    });
}

/// Also if a test panics: the other thread must end.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn the_one_with_stop_conditions() {
    let folder = tempfile::tempdir().unwrap();
    among_what_is_looked_at(|ns, service| drop(starts(ns, &on(&other("stop"), service, &folder))));
}

fn the_one_with_probes() {
    let folder = tempfile::tempdir().unwrap();
    among_what_is_looked_at(|ns, service| {
        let text = with(&on(&other("probe"), service, &folder), "baseline = \"10s\"", "baseline = \"2s\"");
        let ended = starts(ns, &text);
        assert_eq!(7, ended.json()["probes"].as_array().unwrap().len(), "{ended:?}");
    });
}
