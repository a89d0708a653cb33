//! configs/disk-errors.toml: a desk that writes its orders into a Redis. One says that it cannot take them, and of those
//! that it has taken none is lost; one answers with an error that nobody has foreseen.

use std::time::Duration;

use kchaos_tests::{
    kchaos::Ended,
    redis::Redis,
    suite::{Call, Feature, Level, facts, note},
};
use tempfile::TempDir;

use super::{
    Asking, HERE, NEIGHBOUR, Place, Running, SERVICE, SOON, Scenario, assert_falsified, assert_held,
};

kchaos_tests::tests! {
    needs(together, calls, servers): a_disk_that_fails;
}

const FILE: &str = include_str!("../../../configs/disk-errors.toml");

/// Without the fault that not all kernels can do which can do the other one, as its comment says.
fn shipped() -> Scenario {
    if facts().level(Feature::Call(Call::Fsync)) != Level::No {
        return Scenario::shipped(FILE);
    }
    let (writes, rest) = FILE.split_once("[[fault]]\nkind = \"call\"\nname = \"failing-flushes\"\n").unwrap();
    let (_flushes, probes) = rest.split_once("[[probe]]").unwrap();
    Scenario::shipped(&format!("{writes}[[probe]]{probes}"))
}

/// One after the other: guests have one processor.
fn a_disk_that_fails() {
    let refused = failing("503");
    assert!(refused.count(0, "injected") > 0, "{refused:?}");
    assert_held(&refused);
    let broken = failing("500");
    assert_falsified(&broken);
}

/// A Redis that appends to a file below a folder and leaves it to the kernel to flush that, and a desk before it.
fn desk(place: &Place, target: bool, folder: &TempDir, failure: &str) -> (Redis, Running) {
    let (cgroup, port, own) =
        if target { (&place.target, SERVICE, 6379) } else { (&place.other, NEIGHBOUR, 6380) };
    let words = ["--appendonly", "yes", "--appendfsync", "no"];
    let store = Redis::start_in(&place.ns, cgroup, own, folder.path(), &words);
    let order = format!("exec redis-cli -e -p {own} incr orders");
    (store, place.start(cgroup, port, "desk", &[&order, "--failure", failure]))
}

fn number(said: &str) -> u64 {
    said.trim().parse().unwrap_or_else(|_| panic!("{said} is no number"))
}

fn failing(failure: &str) -> Ended {
    let (place, folders) = (Place::new(), [0; 2].map(|_| TempDir::new().unwrap()));
    let (store, _desk) = desk(&place, true, &folders[0], failure);
    let _neighbour = desk(&place, false, &folders[1], failure);
    let logs = folders[0].path().join("appendonlydir");
    // Redis writes again what it could not, ten times in a second: one failure in ten nobody would see.
    let scenario = shipped().on(&place.target).with("probability = \"10%\"", "probability = \"90%\"");
    let scenario = scenario.shorter("30s", 6);
    let scenario = scenario.with("/var/lib/checkout", logs.to_str().unwrap());

    // Orders of others: with those of the probes alone, a write that fails would be rare.
    let others = Asking::start_every(Duration::from_millis(50), &place, SERVICE, "/order");
    let ended = scenario.run(&place);
    let answers = others.looks().into_iter().filter_map(|(answer, _)| answer);
    let taken: Vec<u64> =
        answers.filter(|(status, _)| *status == 200).map(|(_, said)| number(&said)).collect();
    let last = number(&place.ask(SERVICE, "/order").unwrap().1);
    assert!(taken.iter().all(|order| *order < last) && !taken.is_empty(), "{last} after {taken:?}");
    drop(store);
    let again = Redis::start_appending(&place.ns, &place.target, 6379, folders[0].path());
    let kept = again.client(&place.ns, &place.other, HERE, &["get", "orders"]).ended(SOON).1;
    assert_eq!(last, number(&kept), "all that were taken, and no more");
    note(&format!("{last} orders taken and kept"));
    ended
}
