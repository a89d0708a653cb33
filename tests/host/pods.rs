//! Pods and containers as targets, under a real containerd: restarted ones are hit again, neighbours never are, though
//! they share the node, the namespace and the host's network.

use std::{
    collections::VecDeque,
    net::UdpSocket,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kchaos_tests::{
    Kchaos, NetNs, boot_ns,
    containerd::{Container, Containerd},
    kchaos::{Ended, run},
    suite::{churn, note},
    wait_for,
};

kchaos_tests::tests! {
    needs(services, TcEgress): a_restarted_pod_is_hit_again_within_a_second, one_container_of_a_pod, some_pods_by_label,
        neighbours_are_never_hit_while_containers_come_and_go;
    needs(services): what_does_not_run_here;
}

/// Where the target's packets go, and the neighbour's.
const TARGET: &str = "127.0.0.1:9911";
const NEIGHBOUR: &str = "127.0.0.1:9912";
/// Microseconds between two packets of a flood.
const EVERY: &str = "1000";

/// The numbers of the packets that arrive, and when each did.
struct Numbers {
    arrived: Arc<Mutex<Vec<(u64, u64)>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Numbers {
    fn at(ns: &NetNs, address: &str) -> Self {
        let socket = ns.enter(|| UdpSocket::bind(address).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (arrived, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (list, stop) = (arrived.clone(), end.clone());
        let thread = thread::spawn(move || {
            let mut number = [0; 8];
            while !stop.load(Ordering::Relaxed) {
                if socket.recv(&mut number).is_ok() {
                    list.lock().unwrap().push((u64::from_le_bytes(number), boot_ns()));
                }
            }
        });
        Self { arrived, end, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    fn wait_for_some(&self) {
        let before = self.count();
        wait_for("packets arrive", Duration::from_secs(10), || self.count() > before + 10);
    }

    /// Waits until nothing arrives any more.
    fn wait_for_silence(&self) {
        wait_for("packets are lost", Duration::from_secs(10), || {
            let before = self.count();
            thread::sleep(Duration::from_millis(300));
            self.count() == before
        });
    }

    /// Packets that never came, of one sender.
    fn missing(&self) -> u64 {
        let arrived = self.arrived.lock().unwrap();
        let (first, last) = (arrived.first().unwrap().0, arrived.last().unwrap().0);
        last - first + 1 - arrived.len() as u64
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn drop_on(containerd: &Containerd, target: &[&str]) -> Kchaos {
    let socket = containerd.socket();
    let words =
        ["inject", "drop", "--for", "15m", "--protocol", "udp", "--runtime", socket.to_str().unwrap()];
    Kchaos::start_with(&[&words[..], target].concat(), |_| ())
}

fn changes(ended: &Ended, what: &str) -> usize {
    let changes = ended.json();
    changes["changes"].as_array().unwrap().iter().filter(|change| change.get(what).is_some()).count()
}

/// It is another container in another cgroup, of a pod with the same name.
fn a_restarted_pod_is_hit_again_within_a_second() {
    let containerd = Containerd::start();
    let target = Numbers::at(&containerd.ns, TARGET);
    let neighbour = Numbers::at(&containerd.ns, NEIGHBOUR);
    let labels = [("app", "checkout")];
    let other = containerd.pod("shop", "redis", &labels, true);
    let _redis = other.container("web", &["udp-flood", NEIGHBOUR, EVERY]);
    let pod = containerd.pod("shop", "checkout", &labels, true);
    let _web = pod.container("web", &["udp-flood", TARGET, EVERY]);
    target.wait_for_some();
    neighbour.wait_for_some();

    let kchaos = drop_on(&containerd, &["--pod", "shop/check*"]);
    target.wait_for_silence();
    let before = target.count();
    pod.remove();
    let pod = containerd.pod("shop", "checkout", &labels, true);
    let _again = pod.container("web", &["udp-flood", TARGET, EVERY]);
    thread::sleep(Duration::from_secs(3));
    let ended = kchaos.stop();
    let times: Vec<u64> = target.arrived.lock().unwrap()[before..].iter().map(|(_, at)| *at).collect();
    // What came in after the end belongs to nobody's second.
    let (first, silent_from) =
        (times[0], times.windows(2).find(|w| w[1] - w[0] > 1_000_000_000).map(|w| w[0]));
    let silent_from = silent_from.expect("the restarted pod was never hit");
    let took = Duration::from_nanos(silent_from - first);
    note(&format!("hit {took:?} after its first packet"));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((1, 1), (changes(&ended, "left"), changes(&ended, "joined")), "{ended:?}");
    neighbour.wait_for_some();
    assert_eq!(0, neighbour.missing(), "a neighbour was hit");
}

/// Two containers share a pod, and its network.
fn one_container_of_a_pod() {
    let containerd = Containerd::start();
    let target = Numbers::at(&containerd.ns, TARGET);
    let neighbour = Numbers::at(&containerd.ns, NEIGHBOUR);
    let pod = containerd.pod("shop", "checkout", &[], true);
    let _web = pod.container("web", &["udp-flood", TARGET, EVERY]);
    let _sidecar = pod.container("sidecar", &["udp-flood", NEIGHBOUR, EVERY]);
    target.wait_for_some();
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "duration = \"60s\"\n[target]\npod = {{ namespace = \"shop\", labels = {{}}, name = \"checkout\", container = \"web\" }}\n\
         runtime = \"{}\"\n[[fault]]\nkind = \"drop\"\nprotocol = \"udp\"\n",
        containerd.socket().display()
    );
    std::fs::write(file.path(), text).unwrap();
    let kchaos = Kchaos::start_with(&["run", file.path().to_str().unwrap()], |_| ());
    target.wait_for_silence();
    neighbour.wait_for_some();
    let ended = kchaos.stop();
    assert!(ended.count(0, "injected") > 100, "{ended:?}");
    assert_eq!(0, neighbour.missing(), "the sidecar was hit");
}

/// One of two is picked, with all of its containers; the same one again for the same seed.
fn some_pods_by_label() {
    let containerd = Containerd::start();
    let sinks = ["127.0.0.1:9921", "127.0.0.1:9922"].map(|at| Numbers::at(&containerd.ns, at));
    let pods =
        ["checkout-a", "checkout-b"].map(|name| containerd.pod("shop", name, &[("app", "checkout")], true));
    let _containers: Vec<[Container; 2]> = pods
        .iter()
        .zip(["127.0.0.1:9921", "127.0.0.1:9922"])
        .map(|(pod, to)| ["one", "two"].map(|name| pod.container(name, &["udp-flood", to, EVERY])))
        .collect();
    sinks.iter().for_each(Numbers::wait_for_some);
    let socket = containerd.socket();
    let picked = || {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "duration = \"60s\"\nseed = 7\n[target]\npod = {{ namespace = \"shop\", labels = {{ app = \"checkout\" }} }}\n\
             pick = \"50%\"\nruntime = \"{}\"\n[[fault]]\nkind = \"drop\"\nprotocol = \"udp\"\n",
            socket.display()
        );
        std::fs::write(file.path(), text).unwrap();
        let kchaos = Kchaos::start_with(&["run", file.path().to_str().unwrap()], |_| ());
        thread::sleep(Duration::from_millis(300));
        let before = sinks.each_ref().map(Numbers::count);
        thread::sleep(Duration::from_millis(500));
        let silent = [0, 1].map(|n: usize| sinks[n].count() == before[n]);
        let members = kchaos.stop().json()["members"].to_string();
        assert!(silent[0] != silent[1], "{silent:?} {members}");
        assert_eq!(2, members.matches("container").count(), "{members}");
        silent
    };
    assert_eq!(picked(), picked());
}

/// Five container starts a second, for 15 s, or as long as `cargo xtask churn` says: every packet of those that are
/// not the target arrives.
fn neighbours_are_never_hit_while_containers_come_and_go() {
    const PER_SECOND: u32 = 5;
    /// Of each container of the neighbour.
    const PACKETS: u64 = 40;
    let containerd = Containerd::start();
    let target = Numbers::at(&containerd.ns, TARGET);
    let neighbour = Numbers::at(&containerd.ns, NEIGHBOUR);
    let resident = Numbers::at(&containerd.ns, "127.0.0.1:9913");
    let pod = containerd.pod("shop", "checkout", &[], true);
    let other = containerd.pod("shop", "redis", &[], true);
    let _resident = other.container("resident", &["udp-flood", "127.0.0.1:9913", EVERY]);
    let _first = pod.container("first", &["wait"]);
    let kchaos = drop_on(&containerd, &["--pod", "shop/checkout"]);
    let (begun, mut running, mut started, mut sent) = (Instant::now(), VecDeque::new(), 0u32, 0);
    let mut late = Duration::ZERO;
    while begun.elapsed() < churn() {
        let due = begun + Duration::from_secs(1) * started / PER_SECOND;
        match due.checked_duration_since(Instant::now()) {
            Some(wait) => thread::sleep(wait),
            None => late = late.max(due.elapsed()),
        }
        let name = format!("c{started}");
        running.push_back(if started % 2 == 0 {
            pod.container(&name, &["udp-flood", TARGET, EVERY])
        } else {
            sent += PACKETS;
            other.container(&name, &["udp-send", NEIGHBOUR, &PACKETS.to_string()])
        });
        started += 1;
        if running.len() > 10 {
            running.pop_front().unwrap().remove();
        }
    }
    let rate = f64::from(started) / begun.elapsed().as_secs_f64();
    wait_for("the last packets arrive", Duration::from_secs(10), || neighbour.count() as u64 == sent);
    let ended = kchaos.stop();
    let (joined, left) = (changes(&ended, "joined"), changes(&ended, "left"));
    note(&format!(
        "{started} starts, {rate:.1} a second (at most {late:?} late); {} packets of the target lost, {} not; \
         {sent} of its neighbours and {} of a resident one, none lost; {joined} joined, {left} left",
        ended.count(0, "injected"),
        target.count(),
        resident.count()
    ));
    assert_eq!(0, resident.missing(), "a neighbour was hit");
    assert!(ended.count(0, "injected") > u64::from(started), "{ended:?}");
    assert!(joined > 0 && left > 0, "{ended:?}");
}

fn what_does_not_run_here() {
    let containerd = Containerd::start();
    let pod = containerd.pod("shop", "checkout", &[], true);
    let _web = pod.container("web", &["wait"]);
    let socket = containerd.socket();
    let socket = socket.to_str().unwrap();
    for (target, says) in [
        (["--pod", "checkout"], "no pod default/checkout is running here"),
        (["--pod", "shop/web"], "no pod shop/web is running here"),
        (["--container", "db"], "no container db is running here"),
    ] {
        let words = ["inject", "drop", "--for", "1s", "--runtime", socket, target[0], target[1]];
        let ended = run(&words);
        assert_eq!(Some(2), ended.code, "{ended:?}");
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
        assert!(ended.stderr.contains("container web of pod shop/checkout"), "{}", ended.stderr);
    }
    let ended = run(&["inject", "drop", "--for", "1s", "--runtime", "/absent.sock", "--container", "web"]);
    assert_eq!(Some(2), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("no container runtime listens at /absent.sock"), "{}", ended.stderr);
}
