//! configs/zone-unreachable.toml: an nginx before servers in two zones, and one that knows those of the lost zone alone.

use kchaos_tests::{kchaos::Ended, nginx::Nginx};

use super::{Asking, NEIGHBOUR, Place, SERVICE, Scenario, assert_held, assert_well, both_ended};

kchaos_tests::tests! {
    needs(together, services, TcEgress, CgroupIngress): a_zone_that_is_gone;
}

const FILE: &str = include_str!("../../../configs/zone-unreachable.toml");

const LOST: &str = "server 10.20.0.10:9000 max_fails=1 fail_timeout=60s;";
const OTHER: &str = "server 10.30.0.10:9000;";

fn a_zone_that_is_gone() {
    let (good, bad) = both_ended(|| gone(&[LOST, OTHER]), || gone(&[LOST]));
    assert_held(&good);
    // It is not left to that for the whole time: the file has a stop condition, and what was cut short has no verdict.
    assert_eq!(Some(3), bad.code, "{bad:?}");
    assert_eq!("nothing has moved", bad.json()["ended"]["detail"]["name"], "{bad:?}");
}

fn gone(servers: &[&str]) -> Ended {
    let place = Place::new();
    for address in ["10.20.0.10/32", "10.20.0.53/32", "10.30.0.10/32", "2001:db8:20::10/128"] {
        place.ns.ip(&format!("addr add {address} dev lo"));
    }
    let _zones = Nginx::serving(&place.ns, &place.other, 9000, "", "location / { return 200 here; }");
    let http = format!("upstream zones {{ {} }} proxy_connect_timeout 200ms;", servers.concat());
    // What is spared stands in the lost zone, too.
    let server = "location / { proxy_pass http://zones; }
        location /spared { proxy_pass http://10.20.0.53:9000; }
        location /six { proxy_pass http://[2001:db8:20::10]:9000; }";
    let _neighbour = Nginx::serving(&place.ns, &place.other, NEIGHBOUR, &http, server);
    let _gateway = Nginx::serving(&place.ns, &place.target, SERVICE, &http, server);

    let scenario = Scenario::shipped(FILE).on(&place.target).shorter("2m", 8);
    let scenario =
        scenario.with("tolerate = \"30s\"", "tolerate = \"3s\"").with("for = \"1m\"", "for = \"5s\"");
    let neighbour = Asking::start(&place, NEIGHBOUR, "/");
    assert_well(&place, "/six");
    let mut experiment = scenario.start(&place);
    experiment.injects();
    let spared = Asking::start(&place, SERVICE, "/spared");
    let six = place.ask(SERVICE, "/six").map(|(status, _)| status);
    std::thread::sleep(std::time::Duration::from_secs(4));
    spared.assert_well();
    let ended = experiment.ended();
    neighbour.assert_well();
    assert_eq!(Some(504), six, "the zone is gone in both families");
    assert_well(&place, "/");
    ended
}
