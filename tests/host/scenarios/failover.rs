//! configs/database-failover.toml: a Postgres and its replica, which is promoted while the primary cannot be reached.

use std::{net::IpAddr, thread, time::Duration};

use kchaos_tests::kchaos::Ended;

use super::{
    Asking, NEIGHBOUR, Place, SERVICE, Scenario, assert_well, both,
    database::{ORDER, primary, tell},
};

kchaos_tests::tests! {
    needs(together, services, TcEgress, CgroupIngress): a_primary_that_is_gone;
}

const FILE: &str = include_str!("../../../configs/database-failover.toml");

fn a_primary_that_is_gone() {
    both(|| gone(true), || gone(false));
}

/// `both`: whether it knows both databases, or the old primary alone.
fn gone(both: bool) -> Ended {
    let place = Place::new();
    let [old, new]: [IpAddr; 2] = ["10.0.3.17", "10.0.3.18"].map(|address| {
        place.ns.ip(&format!("addr add {address}/32 dev lo"));
        address.parse().unwrap()
    });
    let primary = primary(&place);
    let replica = primary.start_replica(&place.ns, &place.other, 5433);
    let orders = [primary.psql_text(old, ORDER), replica.psql_text(new, ORDER)];
    let known = if both { &orders[..] } else { &orders[..1] };
    let mut words: Vec<&str> = known.iter().map(String::as_str).collect();
    words.extend(["--limit-ms", "800"]);
    // A neighbour that needs the old one.
    let _neighbour = place.start(&place.other, NEIGHBOUR, "desk", &[&orders[0]]);
    let _desk = place.start(&place.target, SERVICE, "desk", &words);

    let scenario = Scenario::shipped(FILE).on(&place.target).shorter("30s", 12);
    let mut experiment = scenario.with("tolerate = \"20s\"", "tolerate = \"8s\"").start(&place);
    let neighbour = Asking::start(&place, NEIGHBOUR, "/");
    experiment.injects();
    thread::sleep(Duration::from_secs(2));
    assert_eq!("t", tell(&place, &replica, "select pg_promote()"));
    let ended = experiment.ended();
    neighbour.assert_well();
    assert_well(&place, "/order");

    let on_new = tell(&place, &replica, "select pg_is_in_recovery(), max(id) from orders");
    let taken: u64 = on_new.strip_prefix("f|").unwrap().parse().unwrap();
    assert!(taken > 0, "{on_new}");
    ended
}
