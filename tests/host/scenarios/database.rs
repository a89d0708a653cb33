//! configs/slow-database.toml and configs/wrong-endpoint.toml: a service that takes orders, and the Postgres that it
//! writes them into.

use kchaos_tests::{kchaos::Ended, postgres::Postgres};

use super::{HERE, NEIGHBOUR, Place, SERVICE, SOON, Scenario, assert_well, both};

kchaos_tests::tests! {
    needs(together, services, TcEgress): a_database_that_is_slow, a_service_that_always_refuses;
    needs(together, services, full CgroupConnect): a_replica_for_the_primary;
}

const SLOW: &str = include_str!("../../../configs/slow-database.toml");
const WRONG: &str = include_str!("../../../configs/wrong-endpoint.toml");

/// What takes an order.
pub const ORDER: &str = "insert into orders default values returning id";

/// Has it tell something to a database.
pub fn tell(place: &Place, database: &Postgres, statement: &str) -> String {
    let (code, said) = database.psql(&place.ns, &place.other, HERE, statement).ended(SOON);
    assert_eq!(Some(0), code, "{statement}: {said}");
    said.trim_end().to_owned()
}

/// One with a table for orders.
pub fn primary(place: &Place) -> Postgres {
    let database = Postgres::start(&place.ns, &place.other, 5432);
    tell(place, &database, "create table orders (id serial primary key)");
    database
}

fn a_database_that_is_slow() {
    both(|| slow(&["--limit-ms", "1000"]), || slow(&[]));
}

fn slow(limit: &[&str]) -> Ended {
    let place = Place::new();
    let database = primary(&place);
    let order = database.psql_text(HERE, ORDER);
    let words = [&[&*order], limit].concat();
    let _neighbour = place.start(&place.other, NEIGHBOUR, "desk", &words);
    let _desk = place.start(&place.target, SERVICE, "desk", &words);
    let scenario = Scenario::shipped(SLOW).on(&place.target).shorter("60s", 8);
    let ended = scenario.with("for = \"20s\"", "for = \"6s\"").run(&place);
    assert_well(&place, "/");
    ended
}

/// It answers in time all the same, and proves nothing.
fn a_service_that_always_refuses() {
    let place = Place::new();
    let _desk = place.start(&place.target, SERVICE, "desk", &["exec false"]);
    let scenario = Scenario::shipped(SLOW).on(&place.target).shorter("60s", 8);
    let ended = scenario.with("for = \"20s\"", "for = \"6s\"").start(&place).ended();
    assert_eq!(Some(5), ended.code, "{ended:?}");
    assert!(ended.stderr.contains("no steady state to begin with: \\\"works\\\""), "{ended:?}");
}

/// It answers that it cannot take the order, or with an error that nobody has foreseen.
fn a_replica_for_the_primary() {
    both(|| wrong(&["--failure", "503"]), || wrong(&["--failure", "500"]));
}

fn wrong(failure: &[&str]) -> Ended {
    let place = Place::new();
    for address in ["10.0.0.5", "10.0.0.9"] {
        place.ns.ip(&format!("addr add {address}/32 dev lo"));
    }
    let primary = primary(&place);
    let replica = primary.start_replica(&place.ns, &place.other, 5433);
    let order = primary.psql_text("10.0.0.5".parse().unwrap(), ORDER);
    let words = [&[&*order], failure].concat();
    let _neighbour = place.start(&place.other, NEIGHBOUR, "desk", &words);
    let _desk = place.start(&place.target, SERVICE, "desk", &words);

    let scenario =
        Scenario::shipped(WRONG).with("/system.slice/checkout-staging.service", place.target.name());
    let mut experiment = scenario.shorter("2m", 6).start(&place);
    experiment.injects();
    let refused = place.ask(SERVICE, "/order");
    let before = tell(&place, &primary, "select count(*) from orders");
    // Its neighbour writes into the primary still.
    assert_eq!(Some(200), place.ask(NEIGHBOUR, "/order").map(|(status, _)| status));
    let after = tell(&place, &primary, "select count(*) from orders");
    let ended = experiment.ended();

    let (status, said) = refused.unwrap();
    assert_eq!(failure[1], status.to_string(), "{said}");
    assert!(said.contains("cannot execute INSERT in a read-only transaction"), "{said}");
    let numbers = [before, after].map(|text| text.parse::<u64>().unwrap());
    assert_eq!(numbers[0] + 1, numbers[1], "the neighbour's alone, and none that is half written");
    assert_well(&place, "/order");
    drop(replica);
    ended
}
