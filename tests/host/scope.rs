//! Scope: children of the cgroup, other network namespaces, packets that pass several devices, host.

use std::{net::UdpSocket, os::unix::process::CommandExt, time::Duration};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    suite::an_errno,
    traffic::{self, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, TcEgress): the_cgroup_and_all_below_it, in_a_namespace_of_its_own_across_veth, packets_of_the_whole_host,
        shadow_and_windows, a_target_that_goes_away_ends_the_experiment, a_namespace_that_cannot_be_seen_is_an_error;
    needs(spread, TcEgress): one_packet_over_stacked_devices_is_judged_once, two_experiments_see_the_same_packets,
        experiments_of_two_containers_do_not_hide_packets_from_each_other;
    needs(spread, CgroupConnect): calls_of_the_whole_host;
}

fn listen(ns: &NetNs, at: &str) -> UdpSocket {
    ns.enter(|| UdpSocket::bind(at).unwrap_or_else(|e| panic!("{at}: {e}")))
}

fn matched(cgroup: &Cgroup, start: &NetNs, send: impl FnOnce()) -> u64 {
    let kchaos = Kchaos::start_with(
        &[
            "inject",
            "drop",
            "--for",
            "60s",
            "--cgroup",
            cgroup.name(),
            "--protocol",
            "udp",
            "--exclude",
            "ff00::/8",
        ],
        |command| start.place(command),
    );
    send();
    let ended = kchaos.stop();
    assert_eq!(ended.count(0, "matched"), ended.count(0, "injected"));
    ended.count(0, "matched")
}

/// A cgroup and everything below it, at any depth; a sibling with the same prefix is not below.
fn the_cgroup_and_all_below_it() {
    let ns = NetNs::new();
    let socket = listen(&ns, "127.0.0.1:0");
    let to = socket.local_addr().unwrap().to_string();
    let (target, sibling) = (Cgroup::new("a"), Cgroup::new("ab"));
    let child = target.child("b");
    let grandchild = child.child("c");
    for (cgroup, expected) in [(&target, 30), (&child, 30), (&grandchild, 30), (&sibling, 0)] {
        let got = matched(&target, &ns, || drop(calls(&ns, cgroup, &["udp-send", &to, "30"])));
        assert_eq!(expected, got, "sent from {}", cgroup.name());
    }
    let got = matched(&child, &ns, || drop(calls(&ns, &target, &["udp-send", &to, "30"])));
    assert_eq!(0, got, "the parent is not below its child");
}

/// The target's processes live in another network namespace than kchaos: it attaches there. Across veth, both families.
fn in_a_namespace_of_its_own_across_veth() {
    let (near, far) = NetNs::joined();
    let cgroup = Cgroup::new("container");
    let mut resident = traffic::helper(&near, &cgroup, &["serve", "7300"]).spawn().unwrap();
    let elsewhere = NetNs::new();
    for (bind, expected) in [("10.99.0.2:0", 40), ("[fd99::2]:0", 40)] {
        let socket = listen(&far, bind);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let to = socket.local_addr().unwrap().to_string();
        // The first packet finds the neighbour.
        drop(calls(&near, &cgroup, &["udp-send", &to, "1"]));
        wait_for("the path works", Duration::from_secs(5), || socket.recv(&mut [0; 64]).is_ok());
        let got = matched(&cgroup, &elsewhere, || drop(calls(&near, &cgroup, &["udp-send", &to, "40"])));
        assert_eq!(expected, got, "{bind}");
        assert!(socket.recv(&mut [0; 64]).is_err(), "nothing crosses the veth");
    }
    let _killed = resident.kill();
    let _reaped = resident.wait();
}

/// Out through a bridge and its port: two devices, one judgement.
fn one_packet_over_stacked_devices_is_judged_once() {
    let (near, far) = NetNs::joined();
    near.ip("addr flush dev near");
    near.ip("link add br0 type bridge");
    near.ip("link set near master br0");
    near.ip("link set br0 up");
    near.ip("addr add 10.98.0.1/24 dev br0");
    near.ip("addr add fd98::1/64 dev br0 nodad");
    far.ip("addr add 10.98.0.2/24 dev far");
    far.ip("addr add fd98::2/64 dev far nodad");
    let cgroup = Cgroup::new("bridged");
    for bind in ["10.98.0.2:0", "[fd98::2]:0"] {
        let socket = listen(&far, bind);
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let to = socket.local_addr().unwrap().to_string();
        wait_for("the path works", Duration::from_secs(10), || {
            drop(calls(&near, &cgroup, &["udp-send", &to, "1"]));
            socket.recv(&mut [0; 64]).is_ok()
        });
        let kchaos = Kchaos::start_with(
            &[
                "inject",
                "drop",
                "--for",
                "60s",
                "--cgroup",
                cgroup.name(),
                "--peer",
                &to,
                "--probability",
                "50%",
                "--seed",
                "1",
            ],
            |command| near.place(command),
        );
        let sent = calls(&near, &cgroup, &["udp-send", &to, "2000"]);
        assert_eq!(2000, sent.ok);
        let ended = kchaos.stop();
        assert_eq!(2000, ended.count(0, "matched"), "{bind}");
        kchaos_tests::assert_share(bind, 0.5, ended.count(0, "injected"), 2000);
    }
}

/// Two experiments at the same time on the same devices: neither hides packets from the other.
fn two_experiments_see_the_same_packets() {
    let ns = NetNs::new();
    let socket = listen(&ns, "127.0.0.1:0");
    let to = socket.local_addr().unwrap().to_string();
    let cgroup = Cgroup::new("twice");
    let start = || {
        Kchaos::start_with(
            &["inject", "drop", "--for", "60s", "--cgroup", cgroup.name(), "--shadow", "--peer", &to],
            |command| ns.place(command),
        )
    };
    let (first, second) = (start(), start());
    drop(calls(&ns, &cgroup, &["udp-send", &to, "500"]));
    let ended = [first.stop(), second.stop()];
    assert_eq!([500; 2], ended.each_ref().map(|e| e.count(0, "matched")), "{ended:?}");
}

fn packets_of_the_whole_host() {
    the_whole_host(&["drop"]);
}

fn calls_of_the_whole_host() {
    the_whole_host(&["connect", "--errno", an_errno().0]);
}

/// `host = true`: every cgroup, and connects of all of them.
fn the_whole_host(fault: &[&str]) {
    let ns = NetNs::new();
    let socket = listen(&ns, "127.0.0.1:0");
    let to = socket.local_addr().unwrap().to_string();
    let (one, two) = (Cgroup::new("one"), Cgroup::new("two"));
    let words = [&["inject"][..], fault, &["--for", "60s", "--host", "--peer", &to]].concat();
    let kchaos = Kchaos::start(&ns, &words);
    for cgroup in [&one, &two] {
        drop(calls(&ns, cgroup, &["udp-send", &to, "25"]));
    }
    let ended = kchaos.stop();
    assert_eq!((50, 50), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
}

/// Shadow mode, and a fault before its `start_after`: counted, not hit.
fn shadow_and_windows() {
    let ns = NetNs::new();
    let socket = listen(&ns, "127.0.0.1:0");
    let to = socket.local_addr().unwrap().to_string();
    let cgroup = Cgroup::new("quiet");
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "duration = \"60s\"\n[target]\ncgroup = \"{}\"\n\
         [[fault]]\nkind = \"drop\"\npeer = \"{to}\"\nstart_after = \"50s\"\n\
         [[fault]]\nkind = \"drop\"\npeer = \"{to}\"\nprobability = \"40%\"\n",
        cgroup.name()
    );
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let kchaos = Kchaos::start_with(&["run", &path, "--shadow"], |command| ns.place(command));
    let sent = calls(&ns, &cgroup, &["udp-send", &to, "1000"]);
    assert_eq!(1000, sent.ok);
    let ended = kchaos.stop();
    let json = ended.json();
    assert_eq!(1000, json["faults"][0]["skipped"]["window"].as_u64().unwrap(), "{json}");
    assert_eq!((1000, 0), (ended.count(1, "matched"), ended.count(1, "injected")));
    let shadow = json["faults"][1]["skipped"]["shadow"].as_u64().unwrap();
    kchaos_tests::assert_share("shadow", 0.4, shadow, 1000);
}

/// Whoever does not want a restarted service to be hit is told that the one he meant is gone.
fn a_target_that_goes_away_ends_the_experiment() {
    let ns = NetNs::new();
    let cgroup = Cgroup::new("restarted");
    let kchaos = Kchaos::inject(&ns, "drop", &cgroup, &["--no-follow"]);
    drop(cgroup);
    let ended = kchaos.wait();
    assert_eq!(Some(3), ended.code, "{ended:?}");
    assert_eq!("target_gone", ended.json()["ended"]["reason"]);
}

/// A process of the target whose namespace cannot be looked at is an error, not a reason to attach elsewhere.
fn a_namespace_that_cannot_be_seen_is_an_error() {
    let (ns, elsewhere) = (NetNs::new(), NetNs::new());
    let cgroup = Cgroup::new("container");
    let mut resident = traffic::helper(&ns, &cgroup, &["serve", "7500"]).spawn().unwrap();
    let kchaos = Kchaos::spawn(&["inject", "drop", "--for", "5s", "--cgroup", cgroup.name()], |command| {
        elsewhere.place(command);
        // SAFETY: prctl is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                const CAP_SYS_PTRACE: libc::c_ulong = 19;
                const CAP_SYS_ADMIN: libc::c_ulong = 21;
                for capability in [CAP_SYS_PTRACE, CAP_SYS_ADMIN] {
                    if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
    });
    let ended = kchaos.wait();
    assert_eq!(Some(4), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("CAP_SYS_PTRACE"), "{ended:?}");
    let _killed = resident.kill();
    let _reaped = resident.wait();
}

/// Two experiments that do not see each other's /run, as in two containers, still use different marks.
fn experiments_of_two_containers_do_not_hide_packets_from_each_other() {
    let ns = NetNs::new();
    let socket = listen(&ns, "127.0.0.1:0");
    let to = socket.local_addr().unwrap().to_string();
    let cgroup = Cgroup::new("twice");
    let start = || {
        Kchaos::start_with(
            &["inject", "drop", "--for", "60s", "--cgroup", cgroup.name(), "--shadow", "--peer", &to],
            |command| {
                ns.place(command);
                // SAFETY: unshare and mount are plain system calls; their arguments are constants.
                unsafe {
                    command.pre_exec(|| {
                        let none = std::ptr::null();
                        let private = libc::MS_REC | libc::MS_PRIVATE;
                        let (root, run, tmpfs) = (c"/".as_ptr(), c"/run".as_ptr(), c"tmpfs".as_ptr());
                        let failed = libc::unshare(libc::CLONE_NEWNS) != 0
                            || libc::mount(none, root, none, private, none.cast()) != 0
                            || libc::mount(tmpfs, run, tmpfs, 0, none.cast()) != 0;
                        if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
                    });
                }
            },
        )
    };
    let (first, second) = (start(), start());
    drop(calls(&ns, &cgroup, &["udp-send", &to, "100"]));
    let ended = [first.stop(), second.stop()];
    assert_eq!([100; 2], ended.each_ref().map(|e| e.count(0, "matched")), "{ended:?}");
}
