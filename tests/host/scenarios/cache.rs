//! configs/redis-unavailable.toml: a shop that keeps one connection to its Redis, with a time limit and without one.

use kchaos_tests::{kchaos::Ended, redis::Redis};

use super::{NEIGHBOUR, Place, SERVICE, Scenario, assert_well, both};

kchaos_tests::tests! {
    needs(together, services, TcEgress, CgroupIngress, full CgroupConnect): a_cache_that_is_gone;
}

const FILE: &str = include_str!("../../../configs/redis-unavailable.toml");

fn a_cache_that_is_gone() {
    both(
        || {
            let ended = gone(Some("100"));
            assert!(ended.count(0, "injected") > 0, "it connects again, and is refused: {ended:?}");
            ended
        },
        || gone(None),
    );
}

fn gone(limit: Option<&str>) -> Ended {
    let place = Place::new();
    let _cache = Redis::start(&place.ns, &place.other, 6379);
    let words: Vec<&str> = ["127.0.0.1:6379", "--keep"].into_iter().chain(limit).collect();
    let _neighbour = place.start(&place.other, NEIGHBOUR, "shop", &words);
    let _shop = place.start(&place.target, SERVICE, "shop", &words);
    let ended = Scenario::shipped(FILE).on(&place.target).shorter("60s", 6).run(&place);
    assert!(ended.count(1, "injected") > 0, "the connection that was open is silent: {ended:?}");
    assert_well(&place, "/");
    ended
}
