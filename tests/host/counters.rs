//! Counters are exact, whatever runs at the same time.

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    kchaos::Ended,
    scaled, slow,
    suite::an_errno,
    traffic::{Calls, Sink, calls},
};

kchaos_tests::tests! {
    needs(TcEgress): no_packet_is_lost_under_contention;
    needs(CgroupConnect): no_call_is_lost_under_contention;
    needs(spread, CgroupConnect): draws_are_right_at_the_ends_and_at_a_hundredth_of_a_percent;
}

fn no_packet_is_lost_under_contention() {
    nothing_is_lost_under_contention(&["drop"]);
}

fn no_call_is_lost_under_contention() {
    let (errno, number) = an_errno();
    let (got, injected) = nothing_is_lost_under_contention(&["connect", "--errno", errno]);
    assert_eq!(Some(&injected), got.failed.get(&number), "what the caller saw is what was counted");
}

/// Many threads on all CPUs: not one match is lost or counted twice, and matched is injected plus skipped.
fn nothing_is_lost_under_contention(fault: &[&str]) -> (Calls, u64) {
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("busy"));
    let sink = Sink::new(&ns, "127.0.0.1".parse().unwrap());
    let to = sink.address.to_string();
    let flags = ["--probability", "30%", "--seed", "3", "--peer", &to];
    let kchaos = Kchaos::inject(&ns, fault[0], &cgroup, &[&fault[1..], &flags].concat());
    let count = scaled(200_000);
    let got = calls(&ns, &cgroup, &["udp-send", &to, &count.to_string(), "8"]);
    let ended = kchaos.stop();
    assert_eq!(count, ended.count(0, "matched"), "{ended:?}");
    let json = ended.json();
    let skipped = json["faults"][0]["skipped"].as_object().unwrap();
    let skipped: u64 = skipped.values().map(|n| n.as_u64().unwrap()).sum();
    let injected = ended.count(0, "injected");
    assert_eq!(count, injected + skipped);
    assert_share("of all", 0.30, injected, drawn(&ended, 0, count));
    (got, injected)
}

/// For how many of so many matches chance decided: for all of them, but that threads which take every processor can keep
/// the engine of a slow guest from extending its lease in time.
fn drawn(ended: &Ended, fault: usize, matched: u64) -> u64 {
    let drawn = matched - ended.skipped(fault, "lease");
    assert!(drawn == matched || slow() > 1 && drawn > matched / 4, "{ended:?}");
    drawn
}

/// The ends of the scale and a hundredth of a percent, on the real path.
fn draws_are_right_at_the_ends_and_at_a_hundredth_of_a_percent() {
    const SHARES: [(&str, f64); 4] = [("0%", 0.0), ("0.01%", 0.0001), ("99.99%", 0.9999), ("100%", 1.0)];
    let (ns, cgroup) = (NetNs::new(), Cgroup::new("busy"));
    let sinks = SHARES.map(|_| Sink::new(&ns, "::1".parse().unwrap()));
    let (errno, number) = an_errno();
    let fault = |((share, _), sink): (&(&str, f64), &Sink)| {
        let to = sink.address;
        format!("kind = \"connect\"\nerrno = \"{errno}\"\nprobability = \"{share}\"\npeer = \"{to}\"")
    };
    let faults: Vec<String> = SHARES.iter().zip(&sinks).map(fault).collect();
    let count = scaled(200_000);
    let kchaos = Kchaos::run(&ns, &cgroup, &faults);
    let got = sinks
        .each_ref()
        .map(|sink| calls(&ns, &cgroup, &["udp-send", &sink.address.to_string(), &count.to_string(), "2"]));
    let ended = kchaos.stop();
    for (fault, (share, asked)) in SHARES.into_iter().enumerate() {
        let injected = ended.count(fault, "injected");
        let drawn = drawn(&ended, fault, count);
        assert_eq!(count, ended.count(fault, "matched"), "{share}");
        assert_eq!(injected, got[fault].failed.get(&number).copied().unwrap_or(0), "{share}");
        if share == "0%" {
            assert_eq!(0, injected);
        } else if share == "100%" {
            assert_eq!(drawn, injected);
        }
        assert_share(share, asked, injected, drawn);
    }
}
