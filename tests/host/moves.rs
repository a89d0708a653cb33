//! What changes under a running experiment and must neither end it nor be held on to by it.

use std::time::Duration;

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, slow,
    traffic::{self, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, TcEgress): a_device_that_moves_to_another_namespace_is_watched_there,
        a_namespace_that_is_deleted_is_not_kept, newcomers_that_there_is_no_room_for,
        a_service_that_was_allowed_to_be_hit_may_end;
}

/// Longer than it takes until newcomers are noticed.
fn noticed() {
    std::thread::sleep(Duration::from_millis(700) * slow().min(4));
}

/// As a container network does it: made here, moved there, with our program on it.
fn a_device_that_moves_to_another_namespace_is_watched_there() {
    let (near, far) = (NetNs::new(), NetNs::new());
    let cgroup = Cgroup::new("target");
    let mut residents = [&near, &far].map(|ns| traffic::helper(ns, &cgroup, &["wait"]).spawn().unwrap());
    let kchaos = Kchaos::inject(&near, "drop", &cgroup, &["--protocol", "udp"]);
    near.ip("link add va type veth peer name vb");
    noticed();
    near.ip(&format!("link set vb netns {}", residents[1].id()));
    for words in [
        "addr add 10.9.1.1/24 dev vb",
        "addr add fd09:1::1/64 dev vb nodad",
        "link set vb up",
        "neigh add 10.9.1.2 lladdr 02:00:00:00:00:02 dev vb",
        "neigh add fd09:1::2 lladdr 02:00:00:00:00:02 dev vb",
    ] {
        far.ip(words);
    }
    near.ip("link set va up");
    noticed();
    for to in ["10.9.1.2:9", "[fd09:1::2]:9"] {
        assert_eq!(20, calls(&far, &cgroup, &["udp-send", to, "20"]).ok);
    }
    let ended = kchaos.stop();
    assert_eq!((40, 40), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    for resident in &mut residents {
        resident.kill().unwrap();
        resident.wait().unwrap();
    }
}

/// Whoever deletes it wants its devices to go, and not when the experiment ends.
fn a_namespace_that_is_deleted_is_not_kept() {
    let outside = NetNs::new();
    let name = format!("kchaos-test-{}", std::process::id());
    outside.ip(&format!("netns add {name}"));
    outside.ip(&format!("link add va type veth peer name vb netns {name}"));
    let words = ["inject", "drop", "--for", "60s", "--protocol", "udp", "--netns", &name];
    let kchaos = Kchaos::start_with(&words, |_| ());
    outside.ip(&format!("netns del {name}"));
    wait_for("its devices are gone", Duration::from_secs(5), || !outside.ip("link").contains("va@"));
    let ended = kchaos.stop();
    assert!(ended.json()["changes"].to_string().contains("left"), "{ended:?}");
}

/// Cgroups at eight depths can be told apart: the ninth is left out, and the others are hit as before.
fn newcomers_that_there_is_no_room_for() {
    let ns = NetNs::new();
    let mut chain = vec![Cgroup::new("deep")];
    for _ in 0..8 {
        let next = chain[chain.len() - 1].child("a");
        chain.push(next);
    }
    let mut members: Vec<Cgroup> = chain[..8].iter().map(|at| at.child("web")).collect();
    let pattern = format!("{}/**/web", chain[0].name());
    let words = ["inject", "drop", "--for", "60s", "--protocol", "udp", "--cgroup", &pattern];
    let kchaos = Kchaos::start(&ns, &words);
    members.push(chain[8].child("web"));
    noticed();
    for member in &members {
        assert_eq!(5, calls(&ns, member, &["udp-send", "127.0.0.1:9", "5"]).ok);
    }
    let ended = kchaos.stop();
    assert_eq!((40, 40), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    let said = ended.json()["changes"].to_string();
    assert!(said.contains("left_out") && said.contains("different depths"), "{said}");
    // From the deepest up.
    members.reverse();
    drop(members);
    while let Some(deepest) = chain.pop() {
        drop(deepest);
    }
}

/// An ssh login that ends takes its cgroup along, and not the experiment that was allowed to hit it.
fn a_service_that_was_allowed_to_be_hit_may_end() {
    let ns = NetNs::new();
    let target = Cgroup::new("system");
    let login = target.child("login");
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("sshd");
    std::fs::copy(kchaos_tests::kct(), &program).unwrap();
    let mut command = std::process::Command::new(&program);
    command.arg("wait");
    ns.place(&mut command);
    login.place(&mut command);
    let mut sshd = command.spawn().unwrap();
    let words = ["inject", "drop", "--for", "60s", "--allow-protected", "--cgroup", target.name()];
    let kchaos = Kchaos::start(&ns, &words);
    sshd.kill().unwrap();
    sshd.wait().unwrap();
    drop(login);
    // It is looked for every second.
    std::thread::sleep(Duration::from_millis(2500));
    let ended = kchaos.stop();
    let why = ended.json()["ended"].to_string();
    assert!(why.contains("Ctrl-C"), "it goes on until it is stopped: {why}");
}
