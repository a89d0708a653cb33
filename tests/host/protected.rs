//! What is protected is left alone, and counted, unless the file says otherwise.

use std::{
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use kchaos_tests::{
    Cgroup, Kchaos, NetNs,
    kchaos::run,
    suite::an_errno,
    traffic::{self, calls},
    wait_for,
};

kchaos_tests::tests! {
    needs(spread, TcEgress, CgroupConnect): the_metadata_service;
    needs(spread, TcEgress): sshd, a_restarted_sshd;
    needs(TcEgress, CgroupIngress): our_own_metrics;
}

/// The clouds' metadata service, in a namespace of ours that pretends to be it.
fn the_metadata_service() {
    let ns = NetNs::new();
    for address in ["169.254.169.254/32", "fd00:ec2::254/128"] {
        ns.ip(&format!("addr add {address} dev lo"));
    }
    let _sockets =
        ["169.254.169.254:80", "[fd00:ec2::254]:80"].map(|a| ns.enter(|| UdpSocket::bind(a).unwrap()));
    let cgroup = Cgroup::new("cloud");
    for (kind, extra) in [("drop", &[][..]), ("connect", &["--errno", an_errno().0])] {
        for allowed in [false, true] {
            let flags = [extra, if allowed { &["--allow-protected"] } else { &[] }].concat();
            let kchaos = Kchaos::inject(&ns, kind, &cgroup, &flags);
            let sent = ["169.254.169.254:80", "[fd00:ec2::254]:80"]
                .map(|to| calls(&ns, &cgroup, &["udp-send", to, "15"]));
            let ended = kchaos.stop();
            assert_eq!(30, ended.count(0, "matched"), "{kind}");
            assert_eq!(if allowed { 30 } else { 0 }, ended.count(0, "injected"), "{kind}");
            let skipped = ended.json()["faults"][0]["skipped"]["protected"].as_u64().unwrap();
            assert_eq!(if allowed { 0 } else { 30 }, skipped, "{kind}");
            // A lost packet is none of the sender's business.
            let failed = if allowed && kind == "connect" { 15 } else { 0 };
            assert!(sent.iter().all(|got| got.ok == 15 - failed), "{kind}: {sent:?}");
        }
    }
}

/// A program called sshd in a cgroup below the target; and the target being its cgroup itself.
fn sshd() {
    let ns = NetNs::new();
    let (target, socket) = (Cgroup::new("system"), ns.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap()));
    let to = socket.local_addr().unwrap().to_string();
    let (shell, service) = (target.child("sshd"), target.child("service"));
    let dir = tempfile::tempdir().unwrap();
    let sshd = dir.path().join("sshd");
    std::fs::copy(kchaos_tests::kct(), &sshd).unwrap();
    let mut command = std::process::Command::new(&sshd);
    command.args(["serve", "7400"]);
    ns.place(&mut command);
    shell.place(&mut command);
    let mut sshd = command.spawn().unwrap();
    wait_for("it listens", Duration::from_secs(5), || {
        calls(&ns, &service, &["connect", "127.0.0.1:7400", "1"]).ok == 1
    });

    let kchaos =
        Kchaos::start_with(&["inject", "drop", "--for", "60s", "--cgroup", target.name()], |c| ns.place(c));
    drop(calls(&ns, &shell, &["udp-send", &to, "10"]));
    drop(calls(&ns, &service, &["udp-send", &to, "10"]));
    let ended = kchaos.stop();
    assert!(ended.stderr.contains("leaving alone, as protected: sshd"), "{ended:?}");
    assert_eq!((20, 10), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");

    let refused = run(&["inject", "drop", "--for", "1s", "--cgroup", shell.name()]);
    assert_eq!(Some(2), refused.code, "{refused:?}");
    assert!(refused.stderr.contains("sshd") && refused.stderr.contains("allow_protected"), "{refused:?}");
    let _killed = sshd.kill();
    let _reaped = sshd.wait();
}

/// Our own metrics answer under a fault that drops everything of the target they run in.
fn our_own_metrics() {
    let ns = NetNs::new();
    let target = Cgroup::new("both");
    let port = ns.enter(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let address = format!("127.0.0.1:{port}");
    let kchaos = Kchaos::start_with(
        &[
            "inject",
            "drop",
            "--for",
            "60s",
            "--cgroup",
            target.name(),
            "--direction",
            "both",
            "--metrics",
            &address,
        ],
        |command| {
            ns.place(command);
            target.place(command);
        },
    );
    // From outside the target: only the answers are the target's.
    let outside = Cgroup::new("outside");
    let mut scrape = traffic::helper(&ns, &outside, &["connect", &address, "20"]);
    assert!(scrape.output().unwrap().status.success());
    let ended = kchaos.stop();
    let json = ended.json();
    assert_eq!(0, ended.count(0, "injected"), "{json}");
    assert!(json["faults"][0]["skipped"]["protected"].as_u64().unwrap() >= 20, "{json}");
}

/// A protected service that is restarted while the experiment runs is protected again.
fn a_restarted_sshd() {
    let ns = NetNs::new();
    let (target, socket) = (Cgroup::new("system"), ns.enter(|| UdpSocket::bind("127.0.0.1:0").unwrap()));
    let to = socket.local_addr().unwrap().to_string();
    let kchaos =
        Kchaos::start_with(&["inject", "drop", "--for", "60s", "--cgroup", target.name()], |c| ns.place(c));
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("sshd");
    std::fs::copy(kchaos_tests::kct(), &program).unwrap();
    let service = target.child("sshd");
    let mut command = std::process::Command::new(&program);
    command.args(["serve", "7401"]);
    ns.place(&mut command);
    service.place(&mut command);
    let mut sshd = command.spawn().unwrap();
    // It is looked for every second.
    wait_for("it is protected", Duration::from_millis(2500), || kchaos.held().protects(service.id()));
    drop(calls(&ns, &service, &["udp-send", &to, "10"]));
    let ended = kchaos.stop();
    assert_eq!((10, 0), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
    let _killed = sshd.kill();
    let _reaped = sshd.wait();
}
