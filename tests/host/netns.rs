//! A network namespace as the target: everything in it, whichever cgroup it belongs to, and nothing outside.

use std::{fs, net::TcpListener, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kchaos::run,
    suite::{Feature, Level, an_errno, facts},
    traffic::{Sink, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(once, TcEgress, TcIngress): packets_of_everyone_in_it_are_hit, one_that_comes_back_under_its_name_is_hit_again,
        a_protected_process_in_it_keeps_it_out;
    needs(once, CgroupConnect): calls_of_everyone_in_it_are_hit;
    needs(once): a_namespace_that_is_not_there;
}

const COUNT: u64 = 30;

fn drop_in(ns: &NetNs, flags: &[&str]) -> Kchaos {
    let words = ["inject", "drop", "--for", "60s", "--protocol", "udp", "--netns", &ns.path()];
    // kchaos itself is elsewhere.
    Kchaos::start_with(&[&words[..], flags].concat(), |_| ())
}

/// What it sends and what it gets, from two cgroups and over both families; the far end's own packets on the same wire
/// are somebody else's until they arrive.
fn packets_of_everyone_in_it_are_hit() {
    let (near, far) = NetNs::joined();
    let (one, other) = (Cgroup::new("one"), Cgroup::new("other"));
    let addresses = [["10.99.0.1", "10.99.0.2"], ["fd99::1", "fd99::2"]];
    let sinks = |side: usize, ns: &NetNs| addresses.map(|pair| Sink::new(ns, pair[side].parse().unwrap()));
    let (at_near, at_far) = (sinks(0, &near), sinks(1, &far));
    let send = |ns: &NetNs, cgroup: &Cgroup, sinks: &[Sink; 2], count: u64| {
        for sink in sinks {
            let to = sink.address.to_string();
            assert_eq!(count, calls(ns, cgroup, &["udp-send", &to, &count.to_string()]).ok);
        }
    };
    let arrived = |sinks: &[Sink; 2], expected: u64| {
        wait_for("packets arrive", Duration::from_secs(5), || {
            sinks.iter().all(|sink| sink.count() as u64 == expected)
        });
    };
    // While neighbours are looked for, only a few packets wait.
    send(&near, &one, &at_far, 1);
    arrived(&at_far, 1);

    let kchaos = drop_in(&near, &["--direction", "egress"]);
    send(&near, &one, &at_far, COUNT);
    send(&near, &other, &at_far, COUNT);
    send(&far, &one, &at_near, COUNT);
    arrived(&at_near, COUNT);
    let ended = kchaos.stop();
    assert_eq!((4 * COUNT, 4 * COUNT), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    arrived(&at_far, 1);

    let kchaos = drop_in(&near, &["--direction", "ingress"]);
    send(&far, &one, &at_near, COUNT);
    send(&near, &one, &at_far, COUNT);
    arrived(&at_far, 1 + COUNT);
    let ended = kchaos.stop();
    assert_eq!((2 * COUNT, 2 * COUNT), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    arrived(&at_near, COUNT);
    send(&far, &one, &at_near, 1);
    arrived(&at_near, COUNT + 1);
}

/// In the namespace connects fail, in another one those of the same cgroup do not.
fn calls_of_everyone_in_it_are_hit() {
    let (inside, outside) = (NetNs::new(), NetNs::new());
    let cgroup = Cgroup::new("client");
    let (name, number) = an_errno();
    let path = inside.path();
    let words = ["inject", "connect", "--errno", name, "--for", "60s", "--netns", &path];
    // Without tcx there may be no cookie of the namespace either (5.14): then it is said, and nothing is applied.
    if facts().level(Feature::CgroupConnect) < Level::Yes {
        let ended = run(&words);
        assert_eq!(Some(4), ended.code, "{ended:?}");
        assert!(ended.stderr.contains("Linux 5.14"), "{}", ended.stderr);
        return;
    }
    let listeners = [&inside, &outside].map(|ns| ns.enter(|| TcpListener::bind("[::]:7650").unwrap()));
    let kchaos = Kchaos::start_with(&words, |_| ());
    for to in ["127.0.0.1:7650", "[::1]:7650"] {
        let got = calls(&inside, &cgroup, &["connect", to, "10"]);
        assert_eq!(Some(&10), got.failed.get(&number), "{got:?}");
        assert_eq!(10, calls(&outside, &cgroup, &["connect", to, "10"]).ok);
    }
    let ended = kchaos.stop();
    assert_eq!((20, 20), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    drop(listeners);
}

/// A name, as `ip netns` gives it, that is taken away and given to another namespace.
fn one_that_comes_back_under_its_name_is_hit_again() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("blue");
    let named = |ns: &NetNs| {
        let _first_time = fs::remove_file(&name);
        std::os::unix::fs::symlink(ns.path(), &name).unwrap();
    };
    let (first, second) = (NetNs::new(), NetNs::new());
    let cgroup = Cgroup::new("client");
    named(&first);
    let at = name.to_str().unwrap();
    let words = ["inject", "drop", "--for", "60s", "--protocol", "udp", "--netns", at];
    let kchaos = Kchaos::start_with(&words, |_| ());
    let send = |ns: &NetNs, count: u64| {
        let _sink = ns.enter(|| std::net::UdpSocket::bind("127.0.0.1:9911").unwrap());
        assert_eq!(count, calls(ns, &cgroup, &["udp-send", "127.0.0.1:9911", &count.to_string()]).ok);
    };
    send(&first, 5);
    send(&second, 7);
    named(&second);
    std::thread::sleep(Duration::from_millis(700) * kchaos_tests::slow().min(4));
    send(&first, 11);
    send(&second, 13);
    let ended = kchaos.stop();
    assert_eq!(5 + 13, ended.count(0, "injected"), "{ended:?}");
    let said = ended.json()["changes"].to_string();
    assert!(said.contains("left") && said.contains("joined"), "{said}");

    // Without following it is over when the name is another's.
    named(&first);
    let kchaos = Kchaos::start_with(&[&words[..], &["--no-follow"]].concat(), |_| ());
    send(&first, 3);
    named(&second);
    let ended = kchaos.wait();
    assert_eq!((Some(3), 3), (ended.code, ended.count(0, "injected")), "{ended:?}");
}

/// At the start it is refused; one that comes later makes the namespace be left alone until it is gone.
fn a_protected_process_in_it_keeps_it_out() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("login"));
    let folder = tempfile::tempdir().unwrap();
    let sshd = folder.path().join("sshd");
    fs::copy(kchaos_tests::kct(), &sshd).unwrap();
    let start = || {
        let mut command = std::process::Command::new(&sshd);
        command.args(["wait"]);
        ns.place(&mut command);
        cgroup.place(&mut command);
        command.spawn().unwrap()
    };
    let end = |mut process: std::process::Child| {
        process.kill().unwrap();
        process.wait().unwrap();
    };
    let path = ns.path();
    let first = start();
    let words = ["inject", "drop", "--for", "60s", "--direction", "ingress", "--protocol", "udp", "--netns"];
    let refused = run(&[&words[..], &[&path]].concat());
    assert_eq!(Some(2), refused.code, "{refused:?}");
    assert!(refused.stderr.contains("sshd") && refused.stderr.contains("allow_protected"), "{refused:?}");
    end(first);

    let kchaos = Kchaos::start_with(&[&words[..], &[&path]].concat(), |_| ());
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let neighbour = Cgroup::new("neighbour");
    let arrives = |expected: bool| {
        wait_for("the namespace is let go or taken again", Duration::from_secs(10), || {
            let before = sink.count();
            assert_eq!(1, calls(&ns, &neighbour, &["udp-send", &to, "1"]).ok);
            std::thread::sleep(Duration::from_millis(50));
            (sink.count() > before) == expected
        });
    };
    arrives(false);
    let second = start();
    arrives(true);
    end(second);
    arrives(false);
    let ended = kchaos.stop();
    let said = ended.json()["changes"].to_string();
    assert!(said.contains("kept_out") && said.contains("sshd"), "{said}");
}

fn a_namespace_that_is_not_there() {
    for name in ["absent-of-kchaos", "/proc/self/ns/absent", "/etc/hostname", "../netns", "/proc/self/ns/uts"]
    {
        let ended = run(&["inject", "drop", "--for", "1s", "--netns", name]);
        assert_eq!(Some(2), ended.code, "{ended:?}");
        assert!(ended.stderr.contains(&format!("there is no network namespace {name}")), "{}", ended.stderr);
    }
}
