//! Conditions on real sources, without an experiment: what a slow one holds up, and what is left of a dropped watch.

use std::time::Duration;

use tokio::{net::TcpListener, time::timeout};

use super::*;
use crate::config;

fn experiment(stops: &str) -> Experiment {
    let text = format!(
        "duration = \"60s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\nprotocol = \"udp\"\n{stops}"
    );
    config::parse("test", &text, "test").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn counting(matched: u64) -> Inside {
    Inside::of(Arc::new(move || {
        let counters = Counters { matched, ..Counters::default() };
        Box::pin(async move { Ok(vec![counters]) })
    }))
}

async fn tripped(stops: &str, matched: u64) -> Tripped {
    let mut watch = Watch::start(&experiment(stops).stops, &counting(matched));
    timeout(Duration::from_secs(5), watch.tripped()).await.expect("it stops")
}

#[tokio::test]
async fn what_holds_is_named_with_its_reason() {
    let found = tripped("[[stop]]\nname = \"too much\"\ncounter = \"matched\"\nwhen = \">= 7\"", 7).await;
    assert_eq!(Tripped { name: "too much".into(), why: "matched by all faults is 7 (>= 7)".into() }, found);
    let found = tripped("[[stop]]\ncommand = [\"sh\", \"-c\", \"echo out of stock >&2; exit 3\"]", 0).await;
    assert_eq!("command-1", found.name);
    assert!(found.why.ends_with("ended with exit code 3: out of stock"), "{found:?}");
}

/// One that never answers, and one that does.
#[tokio::test]
async fn a_slow_source_holds_up_no_other() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let stops = format!(
        "[[stop]]\nprometheus = {{ url = \"{url}\", query = \"up\" }}\ntimeout = \"10s\"\n\
         [[stop]]\nname = \"quick\"\ncounter = \"matched\"\nwhen = \"> 0\"\nfor = \"300ms\"\ninterval = \"100ms\""
    );
    let begun = Instant::now();
    assert_eq!("quick", tripped(&stops, 1).await.name);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn without_conditions_it_waits_for_ever() {
    let mut watch = Watch::start(&[], &counting(0));
    assert!(timeout(Duration::from_millis(50), watch.tripped()).await.is_err());
    let mut watch = Watch::start(
        &experiment("[[stop]]\ncounter = \"matched\"\nwhen = \"> 0\"\ninterval = \"100ms\"").stops,
        &counting(0),
    );
    // Given up and asked again, as a loop does.
    for _ in 0..5 {
        assert!(timeout(Duration::from_millis(60), watch.tripped()).await.is_err());
    }
    let standing = Standing { name: "counter-1".into(), value: Some(0.0), holds: false, errors: 0 };
    assert_eq!(vec![standing], watch.standings().now());
}

/// Nobody answers there.
const REFUSED: &str = "prometheus = { url = \"http://127.0.0.1:1\", query = \"up\" }\nwhen = \"> 0\"";

#[tokio::test]
async fn what_cannot_be_evaluated_stops_unless_that_is_ignored() {
    let found = tripped(&format!("[[stop]]\n{REFUSED}"), 0).await;
    assert!(found.why.starts_with("cannot be evaluated: http://127.0.0.1:1/: "), "{found:?}");
    let ignoring = experiment(&format!("[[stop]]\n{REFUSED}\non_error = \"ignore\"\ninterval = \"100ms\""));
    let mut watch = Watch::start(&ignoring.stops, &counting(0));
    assert!(timeout(Duration::from_millis(350), watch.tripped()).await.is_err());
    assert!(watch.standings().now()[0].errors >= 2, "{:?}", watch.standings().now());
}

#[tokio::test]
async fn before_the_start_both_are_refused_and_nothing_waits_for_for() {
    let refused = check_once(&experiment(&format!("[[stop]]\n{REFUSED}\nfor = \"10s\"")), None).await;
    assert!(matches!(refused, Err(Refused::Unknown { .. })), "{refused:?}");
    let ignoring = experiment(&format!("[[stop]]\n{REFUSED}\non_error = \"ignore\""));
    assert!(check_once(&ignoring, None).await.is_ok());
    let held = experiment("[[stop]]\ntcp = { connect = \"127.0.0.1:1\" }\nfor = \"10s\"");
    let Err(Refused::Holds(tripped)) = check_once(&held, None).await else { panic!() };
    assert!(tripped.why.contains("127.0.0.1:1 has accepted no connection"), "{tripped:?}");
    let never = experiment("[[stop]]\ncommand = [\"/nowhere/at-all\"]\non_error = \"ignore\"");
    assert!(
        matches!(check_once(&never, None).await, Err(Refused::Unknown { error, .. }) if error.is_lasting())
    );
}

/// The condition's program is ended with the watch, together with what it has started.
#[tokio::test]
async fn a_dropped_watch_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, late) = (folder.path().join("begun"), folder.path().join("late"));
    let script = format!("touch {}; (sleep 1; touch {}) & wait", begun.display(), late.display());
    let stops = format!("[[stop]]\ncommand = [\"sh\", \"-c\", \"{script}\"]\ntimeout = \"10s\"");
    let watch = Watch::start(&experiment(&stops).stops, &counting(0));
    while !begun.exists() {
        time::sleep(Duration::from_millis(5)).await;
    }
    drop(watch);
    time::sleep(Duration::from_millis(1500)).await;
    assert!(!late.exists());
}
