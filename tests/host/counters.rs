//! Counters are exact, whatever runs at the same time.

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share, serial,
    traffic::{Sink, calls},
};

/// Many threads on all CPUs, in both kinds of program: not one match is lost or counted twice, and matched is injected
/// plus skipped.
#[test]
fn nothing_is_lost_under_contention() {
    let _serial = serial();
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("busy"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    for (kind, verb, extra) in [("drop", "udp-send", &[][..]), ("connect", "udp-send", &["--errno", "EIO"])] {
        let mut words = vec![
            "inject",
            kind,
            "--for",
            "60s",
            "--cgroup",
            cgroup.name(),
            "--probability",
            "30%",
            "--seed",
            "3",
            "--peer",
            &to,
        ];
        words.extend(extra);
        let kchaos = Kchaos::start(&ns, &words);
        let got = calls(&ns, &cgroup, &[verb, &to, "200000", "8"]);
        let ended = kchaos.stop();
        assert_eq!(200_000, ended.count(0, "matched"), "{kind}: {ended:?}");
        let skipped: u64 = ended.json()["faults"][0]["skipped"]
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_u64().unwrap())
            .sum();
        let injected = ended.count(0, "injected");
        assert_eq!(200_000, injected + skipped, "{kind}");
        assert_share(kind, 0.30, injected, 200_000);
        if kind == "connect" {
            assert_eq!(
                Some(&injected),
                got.failed.get(&libc::EIO),
                "what the caller saw is what was counted"
            );
        }
    }
}

/// The ends of the scale and a hundredth of a percent, on the real path.
#[test]
fn draws_are_right_at_the_ends_and_at_a_hundredth_of_a_percent() {
    let _serial = serial();
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("busy"));
    let sink = Sink::new(&ns, "::1".parse().unwrap());
    let to = sink.address.to_string();
    for (share, asked) in [("0%", 0.0), ("0.01%", 0.0001), ("99.99%", 0.9999), ("100%", 1.0)] {
        let kchaos = Kchaos::inject(
            &ns,
            "connect",
            &cgroup,
            &["--errno", "EIO", "--probability", share, "--seed", "11", "--peer", &to],
        );
        let got = calls(&ns, &cgroup, &["udp-send", &to, "200000", "2"]);
        let ended = kchaos.stop();
        let injected = ended.count(0, "injected");
        assert_eq!(200_000, ended.count(0, "matched"));
        assert_eq!(injected, got.failed.get(&libc::EIO).copied().unwrap_or(0));
        if share == "0%" {
            assert_eq!(0, injected);
        } else if share == "100%" {
            assert_eq!(200_000, injected);
        }
        assert_share(share, asked, injected, 200_000);
    }
}
