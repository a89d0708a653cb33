//! Real containers, under a real containerd: which there are, where their cgroups are, and what becomes of the answer
//! when pods and the runtime come and go.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use chaos_daemon::target::{
    Hierarchy,
    runtime::{Container, Pod, RuntimeError, Runtimes, cgroup_of},
};
use kchaos_tests::{
    containerd::{Containerd, PodSandbox},
    slow,
    suite::note,
};

kchaos_tests::tests! {
    needs(services): pods_are_listed_as_they_were_made, what_is_gone_is_not_listed, a_restarted_containerd,
        containers_that_kubernetes_does_not_know, the_answer_is_cheap;
    needs(): sockets_without_a_runtime;
}

/// The list, as the engine asks for it: again and again by the same [`Runtimes`].
struct Asking {
    runtime: tokio::runtime::Runtime,
    runtimes: Runtimes,
}

impl Asking {
    fn at(socket: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, runtimes: Runtimes::new(Some(socket)) }
    }

    fn ask(&mut self) -> Result<Vec<Container>, RuntimeError> {
        self.runtime.block_on(self.runtimes.containers())
    }

    /// Sorted by pod and name.
    fn list(&mut self) -> Vec<Container> {
        let mut list = self.ask().unwrap();
        list.sort_by_key(|c| (c.pod.as_ref().map(|p| p.name.clone()), c.name.clone()));
        list
    }

    fn names(&mut self) -> Vec<String> {
        self.list().into_iter().map(|c| c.name).collect()
    }
}

fn expected(pod: &PodSandbox, namespace: &str, name: &str, labels: &[(&str, &str)]) -> Pod {
    let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Pod { namespace: namespace.into(), name: name.into(), uid: pod.uid().into(), labels }
}

fn cgroup(id: &str) -> PathBuf {
    let hierarchy = Hierarchy::find().unwrap();
    let found = cgroup_of(hierarchy.mount(), [id]);
    found.get(id).unwrap_or_else(|| panic!("no cgroup of {id}")).clone()
}

/// The processes in a cgroup.
fn processes(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Names, namespaces, labels and ids are those that were asked for, the pause containers are not among them, and each
/// container's process is in the cgroup that is found for it.
fn pods_are_listed_as_they_were_made() {
    let containerd = Containerd::start();
    let labels = [("app", "checkout"), ("tier", "web")];
    let checkout = containerd.pod("shop", "checkout-7d9", &labels, false);
    let redis = containerd.pod("data", "redis-0", &[], true);
    let web = checkout.container("web", &["serve", "7500"]);
    let sidecar = checkout.container("sidecar", &["wait"]);
    let server = redis.container("web", &["serve", "7501"]);

    let listed = Asking::at(containerd.socket()).list();
    let container = |id: &str, name: &str, pod| Container {
        id: id.into(),
        name: name.into(),
        runtime: "containerd",
        pod,
    };
    let pod = || Some(expected(&checkout, "shop", "checkout-7d9", &labels));
    assert_eq!(
        vec![
            container(&sidecar.id, "sidecar", pod()),
            container(&web.id, "web", pod()),
            container(&server.id, "web", Some(expected(&redis, "data", "redis-0", &[]))),
        ],
        listed
    );

    let cgroups = [&web.id, &sidecar.id, &server.id].map(|id| cgroup(id));
    assert!(cgroups[0] != cgroups[1] && cgroups[1] != cgroups[2], "{cgroups:?}");
    assert_eq!(cgroups[0].parent(), cgroups[1].parent(), "of one pod");
    for cgroup in &cgroups {
        note(&cgroup.display().to_string());
        let processes = processes(cgroup);
        let words = fs::read_to_string(format!("/proc/{}/cmdline", processes[0])).unwrap();
        assert!(processes.len() == 1 && words.starts_with("/kct\0"), "{processes:?} {words}");
    }
    // A pod has a network of its own, or the host's.
    let network = |cgroup: &Path| fs::read_link(format!("/proc/{}/ns/net", processes(cgroup)[0])).unwrap();
    let host = containerd.ns.enter(|| fs::read_link("/proc/thread-self/ns/net").unwrap());
    assert_eq!(network(&cgroups[0]), network(&cgroups[1]));
    assert_ne!(host, network(&cgroups[0]));
    assert_eq!(host, network(&cgroups[2]));
}

/// A container that has ended, and one that was removed, and a whole pod: gone from the very next answer.
fn what_is_gone_is_not_listed() {
    let containerd = Containerd::start();
    let mut asking = Asking::at(containerd.socket());
    assert!(asking.list().is_empty());
    let (one, two) = (containerd.pod("a", "one", &[], true), containerd.pod("a", "two", &[], false));
    assert!(asking.list().is_empty(), "a pod without containers has its pause container only");
    let (first, second) = (one.container("first", &["wait"]), one.container("second", &["wait"]));
    let third = two.container("third", &["wait"]);
    assert_eq!(["first", "second", "third"], *asking.names());
    first.stop();
    assert_eq!(["second", "third"], *asking.names());
    second.remove();
    assert_eq!(["third"], *asking.names());
    // Started anew, it is another container in another cgroup.
    let again = one.container("second", &["wait"]);
    assert_eq!(["second", "third"], *asking.names());
    assert_eq!(1, processes(&cgroup(&again.id)).len());
    let id = third.id.clone();
    two.remove();
    assert_eq!(["second"], *asking.names());
    let hierarchy = Hierarchy::find().unwrap();
    assert!(cgroup_of(hierarchy.mount(), [id.as_str()]).is_empty());
    one.remove();
    assert!(asking.list().is_empty());
}

/// While it is away there is one clear error; when it is back, the same containers.
fn a_restarted_containerd() {
    let containerd = Containerd::start();
    let pod = containerd.pod("shop", "checkout", &[("app", "checkout")], false);
    let web = pod.container("web", &["wait"]);
    let mut asking = Asking::at(containerd.socket());
    let before = asking.list();
    assert_eq!(web.id, before[0].id);
    containerd.restart();
    assert_eq!(before, asking.list(), "without a word about the connection that broke");
    containerd.stop();
    let error = asking.ask().unwrap_err();
    assert!(matches!(error, RuntimeError::NobodyListens(_)), "{error}");
    assert_eq!(1, processes(&cgroup(&web.id)).len(), "the container goes on");
}

/// Those of ctr (and nerdctl), beside those of pods.
fn containers_that_kubernetes_does_not_know() {
    let containerd = Containerd::start();
    let pod = containerd.pod("shop", "checkout", &[], true);
    let _web = pod.container("web", &["wait"]);
    containerd.plain("by-hand", &["wait"]);
    let mut asking = Asking::at(containerd.socket());
    let listed = asking.list();
    let by_hand = format!("{}/by-hand", containerd.namespace());
    assert_eq!([by_hand.as_str(), "web"], [&*listed[0].id, &*listed[1].name], "{listed:?}");
    assert_eq!(("by-hand", None), (&*listed[0].name, listed[0].pod.as_ref()));
    assert_eq!(1, processes(&cgroup(&by_hand)).len());
    containerd.remove_plain("by-hand");
    assert_eq!(["web"], *asking.names());
}

/// It is asked four times a second.
fn the_answer_is_cheap() {
    let containerd = Containerd::start();
    let pod = containerd.pod("shop", "checkout", &[], true);
    let ids: Vec<String> = (0..3).map(|n| pod.container(&format!("c{n}"), &["wait"]).id).collect();
    let mut asking = Asking::at(containerd.socket());
    assert_eq!(3, asking.list().len());
    let hierarchy = Hierarchy::find().unwrap();
    let (mut asked, mut walked) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        let begun = Instant::now();
        assert_eq!(3, asking.ask().unwrap().len());
        asked.push(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(3, cgroup_of(hierarchy.mount(), ids.iter().map(String::as_str)).len());
        walked.push(begun.elapsed());
    }
    asked.sort();
    walked.sort();
    note(&format!("asked: median {:?}, worst {:?}; cgroups: median {:?}", asked[25], asked[49], walked[25]));
    assert!(asked[25] < Duration::from_millis(50) * slow(), "{asked:?}");
    assert!(walked[25] < Duration::from_millis(50) * slow(), "{walked:?}");
}

/// Each gives one error that names the path and says what is wrong with it, and none takes longer than two seconds.
fn sockets_without_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "text").unwrap();
    drop(UnixListener::bind(path("dead")).unwrap());
    let _silent = UnixListener::bind(path("silent")).unwrap();
    let garbage = UnixListener::bind(path("garbage")).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = garbage.accept() {
            let _closed = stream.write_all(b"-ERR unknown command\r\n");
        }
    });
    for (name, says) in [
        ("absent", "there is no such file"),
        ("file", "it is not a socket"),
        ("dead", "nobody behind it"),
        ("garbage", "is no container runtime"),
        ("silent", "does not answer within 2 s"),
    ] {
        let begun = Instant::now();
        let error = Asking::at(path(name)).ask().unwrap_err().to_string();
        let took = begun.elapsed();
        note(&error);
        assert!(error.contains(says) && error.contains(path(name).to_str().unwrap()), "{name}: {error}");
        assert!(took < Duration::from_millis(2500) * slow(), "{name}: {took:?}");
    }
}
