//! configs/packet-loss.toml: an nginx before another one, asked by the load of the file. One that is given time repeats
//! what was lost; one with a time limit that is shorter than that fails.

use kchaos_tests::{kchaos::Ended, nginx::Nginx, suite::note};

use super::{NEIGHBOUR, Place, SERVICE, Scenario, assert_well, both};

kchaos_tests::tests! {
    needs(together, services, TcEgress, CgroupIngress): packets_that_are_lost;
}

const FILE: &str = include_str!("../../../configs/packet-loss.toml");

fn packets_that_are_lost() {
    both(|| lost(""), || lost("proxy_read_timeout 100ms;"));
}

fn lost(limit: &str) -> Ended {
    let place = Place::new();
    let _downstream = Nginx::serving(&place.ns, &place.other, 9000, "", "location / { return 200 here; }");
    // A pool, as everybody has one: a connection that has to be made for each request takes seconds when it is hit.
    let http = "upstream pool { server 127.0.0.1:9000; keepalive 8; }
        proxy_http_version 1.1; proxy_set_header Connection '';";
    let server =
        |limit: &str| format!("location / {{ proxy_pass http://pool; proxy_next_upstream off; {limit} }}");
    let _neighbour = Nginx::serving(&place.ns, &place.other, NEIGHBOUR, http, &server(""));
    let _gateway = Nginx::serving(&place.ns, &place.target, SERVICE, http, &server(limit));
    let ended = Scenario::shipped(FILE).on(&place.target).shorter("30s", 10).run(&place);
    let probe = &ended.json()["probes"][0];
    note(&format!("error rate at worst: {}", probe["worst"]));
    ended.assert_as_asked(0);
    assert_well(&place, "/");
    ended
}
