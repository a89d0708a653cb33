//! The daemon with exactly the rights that its systemd unit gives it, and as a pod sees the host.

use std::{net::SocketAddr, process::Command, time::Duration};

use kchaos_tests::{
    Cgroup, NetNs,
    caller::Caller,
    connection::Ends,
    daemon::Daemon,
    kchaos,
    kchaos::Ended,
    kernel::lists,
    slow,
    suite::an_errno,
    traffic::{Sink, calls},
    unit, wait_for,
};

kchaos_tests::tests! {
    needs(once, CgroupConnect, TcEgress, TcIngress, DelayLine): what_the_unit_gives_is_enough, a_pod_sees_the_host,
        whose_cgroup_cannot_be_told_is_not_hit;
}

const COUNT: u64 = 30;
const MS: u64 = 1_000_000;

/// `kchaos WORDS` with the rights of the unit.
fn confined(daemon: &Daemon, words: &[&str]) -> Ended {
    let mut command = kchaos();
    command.args(words).env("KCHAOS_SOCKET", daemon.socket());
    unit::confine(&mut command, None);
    Ended::new(command.output().unwrap())
}

fn experiment(name: &str, target: &str, fault: &str) -> String {
    format!("name = \"{name}\"\nduration = \"30s\"\n[target]\n{target}\n[[fault]]\n{fault}\n")
}

/// A service in a network namespace that is not the daemon's, with more rights than the daemon.
struct Scene {
    near: NetNs,
    far: NetNs,
    target: Cgroup,
    service: Caller,
}

impl Scene {
    fn new() -> Self {
        let ((near, far), target) = (NetNs::joined(), Cgroup::new("target"));
        let service = Caller::start(&near, &target);
        Self { near, far, target, service }
    }

    fn daemon(place: impl FnOnce(&mut Command)) -> Daemon {
        let home = NetNs::new();
        Daemon::start_with(tempfile::tempdir().unwrap(), "", |command| {
            home.place(command);
            place(command);
            unit::confine(command, None);
        })
    }

    /// One fault after the other is applied to the target, seen, halted and gone.
    fn everything_works(&self, daemon: &Daemon, target: &str) {
        let before = (lists(&self.near), lists(&self.far));
        self.drops(daemon, target);
        self.delays(daemon, target);
        self.fails_connects(daemon, target);
        self.resets(daemon, target);
        assert!(daemon.held().is_empty(), "{:?}", daemon.held());
        lists(&self.near).assert_as(&before.0, "after all of it");
        lists(&self.far).assert_as(&before.1, "after all of it");
    }

    fn drops(&self, daemon: &Daemon, target: &str) {
        let sink = Sink::new(&self.far, "10.99.0.2".parse().unwrap());
        let send = || calls(&self.near, &self.target, &["udp-send", &sink.address.to_string(), "30"]).ok;
        daemon.applied(&experiment("drop", target, "kind = \"drop\"\nprotocol = \"udp\""));
        assert_eq!((COUNT, 0), (send(), sink.count()));
        assert_eq!(COUNT, daemon.status("drop")["faults"][0]["injected"]);
        daemon.ask(&["halt", "drop"]);
        assert_eq!(COUNT, send());
        wait_for("all arrive", Duration::from_secs(5), || sink.count() as u64 == COUNT);
    }

    /// Over lo, where settings of the kernel must be changed.
    fn delays(&self, daemon: &Daemon, target: &str) {
        let sink = Sink::new(&self.near, "127.0.0.1".parse().unwrap());
        let to = sink.address.to_string();
        daemon.applied(&experiment(
            "late",
            target,
            "kind = \"delay\"\ndelay = \"200ms\"\nprotocol = \"udp\"",
        ));
        let sent = calls(&self.near, &self.target, &["udp-send", &to, "1"]);
        wait_for("it arrives", Duration::from_secs(5), || sink.count() == 1);
        let took = sink.arrivals()[0] - sent.begun;
        assert!((200 * MS..350 * MS * u64::from(slow())).contains(&took), "{took}\n{}", daemon.log());
        daemon.ask(&["halt", "late"]);
    }

    fn fails_connects(&self, daemon: &Daemon, target: &str) {
        let (errno, number) = an_errno();
        let fault = format!("kind = \"connect\"\nerrno = \"{errno}\"\npeer = \":7777\"");
        daemon.applied(&experiment("refused", target, &fault));
        let seen = || calls(&self.near, &self.target, &["udp-connect", "127.0.0.1:7777", "30"]);
        assert_eq!(Some(&COUNT), seen().failed.get(&number));
        // All of it with the same rights, also where no daemon would answer.
        let halt = confined(daemon, &["halt", "--all", "--output", "json"]);
        assert_eq!((Some(0), 1), (halt.code, halt.json()["halted"].as_u64().unwrap()), "{halt:?}");
        assert_eq!(COUNT, seen().ok);
    }

    fn resets(&self, daemon: &Daemon, target: &str) {
        let at = SocketAddr::from(([10, 99, 0, 2], 7600));
        let other = Cgroup::new("other");
        let mut ends = Ends::new((&self.near, &self.target), (&self.far, &other), at);
        daemon.applied(&experiment("cut", target, "kind = \"reset\"\nprotocol = \"tcp\""));
        ends.client.send(1);
        assert_eq!(libc::ECONNRESET, ends.client.ended().errno, "{}", daemon.log());
        daemon.ask(&["halt", "cut"]);
    }
}

fn what_the_unit_gives_is_enough() {
    let scene = Scene::new();
    let daemon = Scene::daemon(|_| ());
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let effective = u64::from_str_radix(effective.trim(), 16).unwrap();
    assert_eq!(unit::capabilities().len(), effective.count_ones() as usize, "{status}");
    scene.everything_works(&daemon, &format!("cgroup = \"{}\"", scene.target.name()));
    let clean = confined(&daemon, &["clean"]);
    assert_eq!(Some(0), clean.code, "{clean:?}");
    for words in [&["list"][..], &["events"], &["record", "drop"]] {
        let ended = confined(&daemon, words);
        assert_eq!(Some(0), ended.code, "{ended:?}");
    }
}

/// With `hostPID` and the host's cgroups, in namespaces of its own and with /proc/sys read-only, as runtimes mount it.
fn a_pod_sees_the_host() {
    let scene = Scene::new();
    let pod = Cgroup::new("pod");
    let daemon = Scene::daemon(|command| unit::place_in_pod(command, &pod));
    // Where paths of cgroups would begin at its own.
    scene.drops(&daemon, &format!("pid = {}", scene.service.pid()));
    scene.everything_works(&daemon, &format!("cgroup = \"{}\"", scene.target.name()));
}

/// What is protected is told by the cgroups of processes. From a cgroup namespace that may not be left, none is right.
fn whose_cgroup_cannot_be_told_is_not_hit() {
    let scene = Scene::new();
    let pod = Cgroup::new("pod");
    let text = format!(
        "duration = \"1s\"\n[target]\ncgroup = \"{}\"\n[[fault]]\nkind = \"drop\"\n",
        scene.target.name()
    );
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    let mut command = kchaos();
    command.args(["run", file.path().to_str().unwrap()]);
    unit::place_in_pod(&mut command, &pod);
    unit::confine(&mut command, Some("CAP_SYS_ADMIN"));
    let ended = Ended::new(command.output().unwrap());
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("cgroup namespace"), "{ended:?}");
}
