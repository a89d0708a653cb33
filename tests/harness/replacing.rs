//! Rules replaced again and again under real traffic, such that a packet that saw some of the old and some of the new
//! tables would be missed.
//!
//! In every set of 1,024 rules one fits the packets, by its peer and by its port; which one differs from set to set. A
//! mixture of two sets has no rule that fits by both.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::UdpSocket,
    os::unix::fs::MetadataExt,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_daemon::{
    bpf::{Fails, Feature, Object},
    config::{self, Experiment},
    engine::{Half, Tables, boot_ns},
    guard::protected::Protected,
    target::{Hierarchy, all_namespaces},
};

use crate::{Cgroup, NetNs, traffic};

const RULES: usize = 1024;
const PORT: u16 = 5432;
/// Which rule fits, in the one set and in the other: in different words of the tables.
const FITTING: [usize; 2] = [100, 700];

/// What came of it.
#[derive(Debug)]
pub struct Replaced {
    /// Packets sent.
    pub packets: u64,
    /// Of these, how many some rule fitted.
    pub matched: u64,
    /// How long sending them took.
    pub took: Duration,
    /// How long each replacement took, compiling included.
    pub times: Vec<Duration>,
}

/// Sends `count` packets of each family, one `every` so often and 0 as fast as they go, and replaces the rules until they are
/// sent.
pub fn under_traffic(count: u64, every: Duration) -> Replaced {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("sender"));
    let addresses = [format!("127.0.0.1:{PORT}"), format!("[::1]:{PORT}")];
    // Nobody reads; but nobody is told that the port is closed, either.
    let _receivers = addresses.clone().map(|address| ns.enter(|| UdpSocket::bind(address).unwrap()));
    let sets = FITTING.map(experiment);
    let compile = |set: usize, half: Half| {
        Tables::compile(&sets[set], &BTreeMap::new(), &Protected::default(), 1, half).unwrap()
    };
    let mut tables = compile(0, Half::FIRST);
    let mut object =
        Object::load(&[Feature::TcEgress.any_way()], tables.size().with_room(), tables.uses()).unwrap();
    object.fill(&tables).unwrap();
    object.attach_cgroup(&Hierarchy::find().unwrap().cgroup(cgroup.name()).unwrap()).unwrap();
    // By a process in it the namespace is found.
    let mut resident = traffic::helper(&ns, &cgroup, &["wait"]).spawn().unwrap();
    let inode = ns.enter(|| std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino());
    let namespace = all_namespaces().into_iter().find(|ns| ns.inode == inode).unwrap();
    object.attach_namespace(&Arc::new(namespace), Fails::Start).unwrap();
    resident.kill().unwrap();
    resident.wait().unwrap();
    let started = boot_ns();
    object.arm(&tables, started, u64::MAX).unwrap();

    let begun = Instant::now();
    let mut senders = addresses.map(|address| {
        let words = ["udp-send", &address, &count.to_string(), "1", &every.as_micros().to_string()];
        traffic::helper(&ns, &cgroup, &words).stdout(Stdio::null()).spawn().unwrap()
    });
    let mut times = Vec::new();
    while !senders.iter_mut().all(|sender| sender.try_wait().unwrap().is_some()) {
        let now = Instant::now();
        let next = compile((times.len() + 1) % 2, object.other_half(&tables));
        object.replace(&next, started).unwrap();
        tables = next;
        times.push(now.elapsed());
    }
    let took = begun.elapsed();
    let matched = object.counters(RULES).unwrap().iter().map(|counters| counters.matched).sum();
    Replaced { packets: 2 * count, matched, took, times }
}

/// Rules of which one fits; all begin later, so that every packet arrives.
fn experiment(fitting: usize) -> Experiment {
    let mut text = "duration = \"30m\"\n[target]\nhost = true\n".to_owned();
    for n in 0..RULES {
        let peers = if n == fitting {
            format!("\"127.0.0.1:{PORT}\", \"[::1]:{PORT}\"")
        } else {
            let (high, low, port) = (n / 200 + 1, n % 200, (n + fitting) % 4000 + 6000);
            format!("\"10.{high}.{low}.0/24:{port}\", \"[2001:db8:{n:x}::/48]:{port}\"")
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "[[fault]]\nkind = \"drop\"\nstart_after = \"20m\"\nprotocol = \"udp\"\npeer = [{peers}]"
        );
    }
    config::parse("replacing", &text, "replacing").unwrap()
}
