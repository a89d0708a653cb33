//! A real Redis under a real load: what was asked is what is done, and the Redis next to it notices nothing.

use kchaos_tests::{
    Cgroup, Kchaos, NetNs, assert_share,
    redis::{Redis, assert_no_errors},
    scaled,
    suite::{Feature, Level, facts, note},
    traffic,
};

kchaos_tests::tests! {
    needs(once, TcEgress, CgroupConnect): drop_and_connect_hit_one_redis_as_asked_and_not_the_other;
    needs(once, TcEgress, CgroupIngress): a_busy_neighbour_is_never_matched;
}

const PORT: u16 = 7001;
const OTHER_PORT: u16 = 7002;

/// Words for redis-benchmark.
fn requests(count: u64) -> String {
    // A guest that is translated spends half a minute on what a fourth shows as well.
    let count = if facts().guest { scaled(count) / 4 } else { scaled(count) };
    format!("-c 50 -n {} -t set,get -q", count / 2)
}

/// 10 % of the packets dropped, 25 % of the connects refused, over at least 20,000 draws of each (fewer on a slow machine);
/// the second Redis sees no error and is not matched once.
fn drop_and_connect_hit_one_redis_as_asked_and_not_the_other() {
    let (errno, number) = match facts().level(Feature::CgroupConnect) {
        Level::Yes => ("ECONNREFUSED", libc::ECONNREFUSED),
        _ => ("EPERM", libc::EPERM),
    };
    let ns = NetNs::new();
    let (ours, other) = (Cgroup::new("ours"), Cgroup::new("other"));
    let (server, client) = (ours.child("server"), ours.child("client"));
    let redis = Redis::start(&ns, &server, PORT);
    let other_redis = Redis::start(&ns, &other, OTHER_PORT);

    let file = tempfile::NamedTempFile::new().unwrap();
    // No ports and no peers: it is the cgroup alone that keeps the other Redis out.
    std::fs::write(
        file.path(),
        format!(
            "duration = \"5m\"\nseed = 2026\n[target]\ncgroup = \"{}\"\n\
             [[fault]]\nkind = \"drop\"\ndirection = \"egress\"\nprobability = \"10%\"\n\
             [[fault]]\nkind = \"connect\"\nerrno = \"{errno}\"\nprobability = \"25%\"\n",
            ours.name()
        ),
    )
    .unwrap();
    let kchaos = Kchaos::start(&ns, &["run", file.path().to_str().unwrap()]);

    // First the other one alone: whatever is matched now would be matched by mistake.
    let load = other_redis.load(&ns, &other, &requests(100_000));
    assert_no_errors(&load.wait_with_output().unwrap());

    // Then both: ours with connects that may be refused, and enough connections to keep packets coming under loss.
    let other_load = other_redis.load(&ns, &other, &requests(300_000));
    let to = format!("127.0.0.1:{PORT}");
    let to6 = format!("[::1]:{PORT}");
    let connects = scaled(12_000);
    let count = connects.to_string();
    let mut v6 = traffic::helper(&ns, &client, &["connect", &to6, &count, "300"]).spawn().unwrap();
    let v4 = traffic::calls(&ns, &client, &["connect", &to, &count, "300"]);
    assert!(v6.wait().unwrap().success());
    assert_no_errors(&other_load.wait_with_output().unwrap());

    let ended = kchaos.stop();
    for (fault, asked) in [(0, 0.10), (1, 0.25)] {
        let (matched, injected) = (ended.count(fault, "matched"), ended.count(fault, "injected"));
        let percent = injected as f64 * 100.0 / matched as f64;
        note(&format!("fault {fault}: {injected} of {matched} injected, {percent:.2} %"));
        assert!(matched >= scaled(20_000), "fault {fault}: only {matched} draws");
        assert_share(&format!("fault {fault}"), asked, injected, matched);
    }
    assert_eq!(2 * connects, ended.count(1, "matched"), "every connect of ours, and none of the other's");
    let refused = v4.failed.get(&number).copied().unwrap_or(0);
    // A connect of which five packets in a row are lost gives up, on kernels before 6.5 one in some thousands.
    let gave_up = v4.failed.get(&traffic::TIMED_OUT).copied().unwrap_or(0);
    assert!(gave_up <= connects / 100, "{v4:?}");
    assert_eq!(v4.failed.values().sum::<u64>() - gave_up, refused, "no other error than those: {v4:?}");
    assert_share("seen by the client", 0.25, refused, connects);
    drop(redis);
}

/// The other Redis alone, under an experiment that matches everything in its cgroup: not one packet.
fn a_busy_neighbour_is_never_matched() {
    let ns = NetNs::new();
    let (ours, other) = (Cgroup::new("ours"), Cgroup::new("other"));
    let neighbour = Redis::start(&ns, &other, OTHER_PORT);
    let kchaos = Kchaos::inject(&ns, "drop", &ours, &["--direction", "both"]);
    let load = neighbour.load(&ns, &other, &requests(200_000));
    assert_no_errors(&load.wait_with_output().unwrap());
    let ended = kchaos.stop();
    assert_eq!(0, ended.count(0, "matched"), "{ended:?}");
}
