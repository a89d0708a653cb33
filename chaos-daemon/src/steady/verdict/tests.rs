//! Every way to a verdict.

use std::collections::BTreeMap;

use super::*;
use crate::{
    config,
    engine::FaultOutcome,
    record::{Sample, State},
};

fn experiment() -> Experiment {
    let text = "duration = \"10s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\nprotocol = \"udp\"\n\
                [[probe]]\ntcp = { connect = \"127.0.0.1:1\" }\n";
    config::parse("test", text, "test").unwrap()
}

fn outcome(ended: Ended, injected: u64) -> Outcome {
    let fault = FaultOutcome {
        fault: "drop-1".to_owned(),
        kind: "drop",
        effect: String::new(),
        asked: None,
        matched: injected,
        injected,
        last_injected_seconds: None,
        unattributed: 0,
        skipped: BTreeMap::new(),
        draws: injected,
        hits: injected,
        share: None,
        interval: None,
        as_asked: None,
    };
    Outcome {
        experiment: "test".to_owned(),
        hypothesis: None,
        mode: "inject",
        seed: 1,
        target: "host".to_owned(),
        duration_seconds: 10.0,
        ran_seconds: 10.0,
        started_ns: 0,
        ended,
        notes: Vec::new(),
        members: Vec::new(),
        changes: Vec::new(),
        more_changes: 0,
        delay_lines: Vec::new(),
        calls: Vec::new(),
        undelivered: 0,
        faults: vec![fault],
    }
}

fn probe(name: &str, held: Option<bool>, broke_at: Option<f64>) -> Probe {
    let state = if held == Some(false) { State::Broken } else { State::Well };
    let note = broke_at.map(|_| "is 18% (expected < 0.5%): errors".to_owned());
    let sample = Sample { at: broke_at.unwrap_or(1.0), value: None, state, note };
    Probe { name: name.to_owned(), held, broke_at, samples: vec![sample], ..Probe::default() }
}

fn found(outcome: &Outcome, probes: &[Probe], back: Back) -> (Finding, String) {
    let Verdict { verdict, reason } = of(&experiment(), outcome, probes, back);
    (verdict, reason)
}

#[test]
fn the_way_it_ended_comes_first() {
    let broken = [probe("errors", Some(false), Some(2.0))];
    for ended in [
        Ended::Halted,
        Ended::Interrupted("Ctrl-C".to_owned()),
        Ended::TargetGone,
        Ended::StopCondition { name: "hurt".to_owned(), why: "it is 3".to_owned() },
    ] {
        let (verdict, reason) = found(&outcome(ended.clone(), 7), &broken, Back::Seen);
        assert_eq!((Finding::Stopped, ended.to_string()), (verdict, reason));
    }
}

#[test]
fn nothing_that_was_not_tried_holds_or_fails() {
    let held = [probe("errors", Some(true), None)];
    let broken = [probe("errors", Some(false), Some(2.0))];
    for probes in [&held, &broken] {
        assert_eq!(Finding::Inconclusive, found(&outcome(Ended::TimeBox, 0), probes, Back::Seen).0);
        let shadow = Outcome { mode: "shadow", ..outcome(Ended::TimeBox, 7) };
        assert_eq!(Finding::Inconclusive, found(&shadow, probes, Back::Seen).0);
    }
    assert_eq!(Finding::NotAsked, found(&outcome(Ended::TimeBox, 7), &[], Back::Seen).0);
    let unseen = [probe("errors", None, None)];
    assert_eq!(Finding::Inconclusive, found(&outcome(Ended::TimeBox, 7), &unseen, Back::Seen).0);
}

#[test]
fn the_first_that_broke_is_named_with_how_it_was() {
    let probes = [probe("latency", Some(false), Some(7.0)), probe("errors", Some(false), Some(2.0))];
    let (verdict, reason) = found(&outcome(Ended::TimeBox, 7), &probes, Back::NotInTime);
    assert_eq!(Finding::Falsified, verdict);
    assert_eq!(
        "\"errors\", the first of two that broke, 2.0 s after the faults went on: is 18% (expected < 0.5%): errors; \
         steady state had not come back at the end",
        reason
    );
}

#[test]
fn what_does_not_come_back_is_falsified_and_all_else_holds() {
    let probes = [probe("errors", Some(true), None)];
    assert_eq!(Finding::Held, found(&outcome(Ended::TimeBox, 7), &probes, Back::Seen).0);
    assert_eq!(
        Finding::Held,
        found(&outcome(Ended::CommandEnded("ended".to_owned()), 7), &probes, Back::Seen).0
    );
    let (verdict, reason) = found(&outcome(Ended::TimeBox, 7), &probes, Back::NotInTime);
    assert_eq!(Finding::Falsified, verdict);
    assert!(reason.contains("had not come back to steady state 1m after"), "{reason}");
    let (verdict, reason) = found(&outcome(Ended::TimeBox, 7), &probes, Back::NotWaitedFor);
    assert_eq!((Finding::Stopped, true), (verdict, reason.contains("the wait for steady state was ended")));
    // What broke while the faults were on did so however long anybody waited.
    let broken = [probe("errors", Some(false), Some(1.0))];
    assert_eq!(Finding::Falsified, found(&outcome(Ended::TimeBox, 7), &broken, Back::NotWaitedFor).0);
}
