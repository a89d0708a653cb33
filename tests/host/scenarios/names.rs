//! configs/slow-names.toml: an nginx that looks a name up again and again, with a real name server. One of them goes on
//! with the address that it knows, the other one waits.

use kchaos_tests::{kchaos::Ended, nginx::Nginx};

use super::{HERE, NEIGHBOUR, Place, SERVICE, Scenario, assert_well, both};
use crate::names::NameServer;

kchaos_tests::tests! {
    needs(together, services, TcEgress): look_ups_that_are_slow;
}

const FILE: &str = include_str!("../../../configs/slow-names.toml");

fn look_ups_that_are_slow() {
    both(
        || looked_up("resolver_timeout 300ms; error_page 502 504 = @known;"),
        || looked_up("resolver_timeout 30s;"),
    );
}

/// `patience`: what it does about a look-up that takes long.
fn looked_up(patience: &str) -> Ended {
    let place = Place::new();
    let names = NameServer::start(&place.ns);
    names.set(&[&HERE.to_string()]);
    let _service = Nginx::serving(&place.ns, &place.other, 9000, "", "location / { return 200 here; }");
    let server = format!(
        "resolver 127.0.0.1 valid=1s ipv6=off;
        set $name db.test;
        location / {{ proxy_pass http://$name:9000; {patience} }}
        location @known {{ proxy_pass http://127.0.0.1:9000; }}"
    );
    let _neighbour = Nginx::serving(&place.ns, &place.other, NEIGHBOUR, "", &server);
    let _gateway = Nginx::serving(&place.ns, &place.target, SERVICE, "", &server);
    let ended = Scenario::shipped(FILE).on(&place.target).shorter("60s", 8).run(&place);
    assert!(ended.count(1, "injected") > 0, "{ended:?}");
    assert_well(&place, "/");
    ended
}
