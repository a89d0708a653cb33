//! configs/instance-killed.toml: two nginx as instances, and one before them that asks the other one when the first is
//! gone, or does not.

use kchaos_tests::{Cgroup, kchaos::Ended, nginx::Nginx};

use super::{Asking, NEIGHBOUR, Place, SERVICE, Scenario, assert_falsified, assert_held, assert_well};

kchaos_tests::tests! {
    needs(together, services): an_instance_that_is_killed;
}

const FILE: &str = include_str!("../../../configs/instance-killed.toml");

/// One after the other, as units are found by their name on the whole host.
fn an_instance_that_is_killed() {
    assert_held(&killed("error timeout"));
    assert_falsified(&killed("off"));
}

fn instance(place: &Place, cgroup: &Cgroup, port: u16) -> Nginx {
    Nginx::serving(&place.ns, cgroup, port, "", &format!("location / {{ return 200 {port}; }}"))
}

fn killed(again: &str) -> Ended {
    let (place, slice) = (Place::new(), Cgroup::new("system.slice"));
    let units = ["checkout@1.service", "checkout@2.service", "basket@1.service"];
    let units = units.map(|name| slice.child(name));
    let ports = [9001, 9002, NEIGHBOUR];
    let mut instances: Vec<Nginx> =
        units.iter().zip(ports).map(|(unit, port)| instance(&place, unit, port)).collect();
    let servers = "server 127.0.0.1:9001 max_fails=0; server 127.0.0.1:9002 max_fails=0;";
    let _balancer = Nginx::serving(
        &place.ns,
        &place.other,
        SERVICE,
        &format!("upstream all {{ {servers} }}"),
        &format!("location / {{ proxy_pass http://all; proxy_next_upstream {again}; }}"),
    );
    let scenario = Scenario::shipped(FILE).shorter("30s", 10).with("tolerate = \"5s\"", "tolerate = \"3s\"");
    let mut experiment = scenario.with("for = \"15s\"", "for = \"9s\"").start(&place);
    let neighbour = Asking::start(&place, NEIGHBOUR, "/");
    let killed = loop {
        if let Some(place) = units.iter().position(|unit| unit.pids().is_empty()) {
            break place;
        }
        assert!(experiment.runs(), "{:?}", experiment.ended());
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    // Long enough to be noticed: then it is started again, as its supervisor would.
    std::thread::sleep(std::time::Duration::from_secs(5));
    instances[killed] = instance(&place, &units[killed], ports[killed]);
    let ended = experiment.ended();
    neighbour.assert_well();
    assert!(killed < 2 && ended.count(0, "injected") == 1, "{killed}: {ended:?}");
    assert_well(&place, "/");
    drop(instances);
    ended
}
