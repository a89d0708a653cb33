//! What clients can do to a daemon, and a full disk: clear answers, and experiments that go on unharmed.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    time::{Duration, Instant},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use kchaos_tests::{
    Cgroup, NetNs,
    daemon::{Daemon, connect_fault},
    traffic::calls,
    wait_for,
};

kchaos_tests::tests! {
    needs(once, CgroupConnect): clients_that_are_wrong, clients_that_are_slow_and_many, an_audit_log_on_a_full_disk,
        only_one_runs;
}

const PORT: u16 = 7777;

/// An experiment that must stay unharmed.
fn under_way(ns: &NetNs, daemon: &Daemon, cgroup: &Cgroup) -> impl Fn() {
    daemon.applied(&connect_fault("unharmed", cgroup, "60s", PORT));
    || {
        let seen = calls(ns, cgroup, &["udp-connect", &format!("127.0.0.1:{PORT}"), "20"]);
        assert_eq!(0, seen.ok, "{seen:?}");
        assert_eq!("running", daemon.status("unharmed")["phase"], "{}", daemon.log());
    }
}

fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn clients_that_are_wrong() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let is_unharmed = under_way(&ns, &daemon, &cgroup);
    let long = vec![b'#'; (1 << 20) + 1];
    for (bytes, status) in [
        (request("PUT", "/v1/experiments/x", b"{\"json\": true}"), 422),
        (request("PUT", "/v1/experiments/x", b"\xff\xfe"), 400),
        (request("PUT", "/v1/experiments/x", b"name = \"y\"\nduration = \"1s\""), 422),
        (request("PUT", "/v1/experiments/x?nothing=1", b""), 400),
        (request("PUT", "/v1/experiments/a%00b%1b", b""), 422),
        (request("PUT", "/v1/experiments/x", &long), 413),
        (request("GET", "/v1/experiments/nobody", b""), 404),
        (request("GET", "/v1/experiments/%ff", b""), 400),
        (request("POST", "/v1/experiments/%1b%5b2J/halt", b""), 404),
        (request("GET", "/v1/events?after=-1", b""), 400),
        (request("GET", "/v1/events?after=x", b""), 400),
        (request("GET", "/../../etc/passwd", b""), 404),
        (request("DELETE", "/v1/experiments/unharmed", b""), 405),
        (request("GET", &format!("/{}", "a".repeat(70_000)), b""), 414),
        (b"nonsense\r\n\r\n".to_vec(), 400),
    ] {
        let answer = daemon.say(&bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{shown}: {}",
            answer.lines().next().unwrap_or("")
        );
        assert!(!answer.contains('\u{1b}'), "{answer}");
        // What hyper itself refuses has no body.
        if !matches!(status, 414) && !bytes.starts_with(b"nonsense") {
            let body = answer.split("\r\n\r\n").nth(1).unwrap();
            let error: serde_json::Value =
                serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
            assert!(!error["error"]["message"].as_str().unwrap().is_empty(), "{answer}");
        }
    }
    is_unharmed();
    assert!(!daemon.log().contains("panicked") && !daemon.log().contains('\u{1b}'), "{}", daemon.log());
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(0o600, mode & 0o777, "{mode:o}");
}

/// Those who say nothing are sent away; until then they are a bounded number, and the faults can be ended without them.
fn clients_that_are_slow_and_many() {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("target"));
    let daemon = Daemon::start(&ns, "");
    let is_unharmed = under_way(&ns, &daemon, &cgroup);
    let before = daemon.descriptors();
    let mut silent = UnixStream::connect(daemon.socket()).unwrap();
    let mut half = UnixStream::connect(daemon.socket()).unwrap();
    half.write_all(b"PUT /v1/experiments/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nname = ")
        .unwrap();
    let mut drip = UnixStream::connect(daemon.socket()).unwrap();
    drip.write_all(b"GET /v1/exp").unwrap();
    is_unharmed();
    let begun = Instant::now();
    for stream in [&mut silent, &mut half, &mut drip] {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    // One after the other, and many at a time.
    for _ in 0..2_000 {
        drop(UnixStream::connect(daemon.socket()).unwrap());
    }
    let many: Vec<UnixStream> = (0..100).map(|_| UnixStream::connect(daemon.socket()).unwrap()).collect();
    is_unharmed();
    assert!(daemon.descriptors() < before + 150, "{}", daemon.descriptors());
    drop(many);
    // Those who follow keep their places, and leave some to others.
    let follow = b"GET /v1/events?follow=true HTTP/1.1\r\nHost: x\r\n\r\n";
    let followers: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.socket()).unwrap();
            stream.write_all(follow).unwrap();
            stream
        })
        .collect();
    is_unharmed();
    assert_eq!("unharmed", daemon.ask(&["halt", "unharmed"])["halted"][0]);
    daemon.applied(&connect_fault("unharmed", &cgroup, "60s", PORT));
    drop(followers);
    wait_for("their descriptors come back", Duration::from_secs(5), || daemon.descriptors() <= before + 2);
    is_unharmed();
    daemon.ask(&["halt", "--all"]);
}

/// Nothing is started that cannot be written down; what runs goes on, and can be ended.
fn an_audit_log_on_a_full_disk() {
    let (ns, cgroup, other) = (NetNs::new(), Cgroup::new("target"), Cgroup::new("other"));
    let disk = tempfile::tempdir().unwrap();
    let size = Some("size=64k");
    mount(Some("none"), disk.path(), Some("tmpfs"), MsFlags::empty(), size).unwrap();
    let unmount = Unmount(disk.path().to_str().unwrap().to_owned());
    let daemon = Daemon::start(&ns, &format!("audit_log = \"{}/audit.jsonl\"\n", unmount.0));
    let is_unharmed = under_way(&ns, &daemon, &cgroup);
    let filler = disk.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    drop(file);
    // What is left of the last page of the log.
    wait_for("the log is full", Duration::from_secs(20), || {
        daemon.apply(&connect_fault("more", &other, "100ms", PORT)).code == Some(4)
    });
    let refused = daemon.apply(&connect_fault("more", &other, "1s", PORT));
    assert!(refused.stderr.contains("audit log") && refused.stderr.contains("No space left"), "{refused:?}");
    is_unharmed();
    let scraped = daemon.say(&request("GET", "/v1/metrics", b""));
    assert!(!scraped.contains("kchaos_audit_failures_total 0"), "{scraped}");
    assert_eq!("unharmed", daemon.ask(&["halt", "unharmed"])["halted"][0]);
    fs::remove_file(filler).unwrap();
    daemon.ask(&["halt", "--all"]);
    daemon.applied(&connect_fault("again", &other, "1s", PORT));
    let log = fs::read_to_string(disk.path().join("audit.jsonl")).unwrap();
    assert!(
        log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "half a line: {log}"
    );
}

struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _best_effort = umount2(self.0.as_str(), MntFlags::MNT_DETACH);
    }
}

fn only_one_runs() {
    let ns = NetNs::new();
    let daemon = Daemon::start(&ns, "");
    let second = daemon.run(&["daemon"]);
    assert_eq!(Some(4), second.code, "{second:?}");
    assert!(second.stderr.contains("runs on this host already"), "{second:?}");
    daemon.ask(&["list"]);
}
