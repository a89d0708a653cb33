//! configs/slow-downstream.toml, configs/downstream-refused.toml and configs/downstream-reset.toml: an nginx before
//! another one, with and without what helps against each.

use kchaos_tests::{kchaos::Ended, nginx::Nginx};

use super::{NEIGHBOUR, Place, SERVICE, Scenario, assert_well, both};

kchaos_tests::tests! {
    needs(together, services, TcEgress): one_that_is_slow;
    needs(together, services, full CgroupConnect): one_that_refuses;
    needs(together, services, TcEgress, TcIngress): one_that_is_cut_off;
}

const SLOW: &str = include_str!("../../../configs/slow-downstream.toml");
const REFUSED: &str = include_str!("../../../configs/downstream-refused.toml");
const RESET: &str = include_str!("../../../configs/downstream-reset.toml");

/// A gateway, and a neighbour that is the same, before one service; `http` and `server` are of the gateways'
/// configuration.
fn behind(http: &str, server: &str, scenario: impl FnOnce(Scenario) -> Scenario, file: &str) -> Ended {
    let place = Place::new();
    let _downstream = Nginx::serving(&place.ns, &place.other, 9000, "", "location / { return 200 paid; }");
    let _neighbour = Nginx::serving(&place.ns, &place.other, NEIGHBOUR, http, server);
    let _gateway = Nginx::serving(&place.ns, &place.target, SERVICE, http, server);
    let ended = scenario(Scenario::shipped(file).on(&place.target)).run(&place);
    assert_well(&place, "/");
    ended
}

fn one_that_is_slow() {
    let run = |limits: &str| {
        let server = format!("location / {{ proxy_pass http://127.0.0.1:9000; {limits} }}");
        behind("", &server, |scenario| scenario.shorter("60s", 8), SLOW)
    };
    both(|| run("proxy_connect_timeout 300ms; proxy_read_timeout 300ms;"), || run(""));
}

fn one_that_refuses() {
    let run = |otherwise: &str| {
        let server = format!(
            "location / {{ proxy_pass http://127.0.0.1:9000; {otherwise} }}
            location @account {{ return 200 later; }}"
        );
        behind("", &server, |scenario| scenario.shorter("60s", 6), REFUSED)
    };
    both(|| run("error_page 502 = @account;"), || run(""));
}

/// One connection in ten is cut: a hundred looks find one in all runs but one of forty thousand.
fn often(scenario: Scenario) -> Scenario {
    scenario.shorter("30s", 10).with("interval = \"200ms\"", "interval = \"100ms\"")
}

/// The same address six times is as many tries, each over a connection of its own.
fn one_that_is_cut_off() {
    let run = |again: &str| {
        let http = format!("upstream payment {{ {} }}", "server 127.0.0.1:9000 max_fails=0; ".repeat(6));
        let server = format!("location / {{ proxy_pass http://payment; proxy_next_upstream {again}; }}");
        behind(&http, &server, often, RESET)
    };
    both(|| run("error timeout"), || run("off"));
}
