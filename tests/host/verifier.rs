//! What each program costs the verifier and the CPU's instruction cache, held against a committed snapshot: a rise of
//! more than a tenth fails until the snapshot is renewed on purpose (`KCHAOS_RENEW=1 cargo xtask test`).
//!
//! The verifier counts differently from kernel to kernel, and the programs differ from compiler to compiler; so there
//! is one list for each line of both that the project is built and tested with. The costs go to the report; whoever
//! runs the suite renews the snapshot from there, as a guest cannot write it.

use std::collections::BTreeMap;

use chaos_common::uses::Uses;
use chaos_daemon::{
    bpf::{COMPILER, Need, Object},
    engine::Size,
};
use kchaos_tests::suite::{Feature, Level, emit, facts, note};
use serde::Deserialize;
use serde_json::json;

kchaos_tests::tests! {
    needs(): no_program_became_dearer;
}

const SNAPSHOT: &str = include_str!("../snapshots/verifier.json");

#[derive(Clone, Copy, Debug, Deserialize)]
struct Cost {
    /// Instructions that the verifier walked; 0 before Linux 5.16, which does not tell.
    verified: u32,
    /// Bytes of machine code.
    jited: u32,
}

type Costs = BTreeMap<String, Cost>;

fn measured() -> Costs {
    let works = |feature: &Feature| facts().level(*feature) > Level::No;
    let here: Vec<Need> = Feature::every().filter(works).map(Feature::any_way).collect();
    let mut object = Object::load(&here, Size::LIMIT, Uses::ALL).unwrap();
    object.catch_calls().unwrap();
    let costs = object.costs().unwrap().into_iter();
    costs.map(|(name, verified, jited)| (name.to_owned(), Cost { verified, jited })).collect()
}

fn no_program_became_dearer() {
    let compiler = COMPILER.split('.').take(2).collect::<Vec<_>>().join(".");
    let now = measured();
    for (name, Cost { verified, jited }) in &now {
        note(&format!("{name}: {verified} instructions verified, {jited} bytes of machine code"));
        emit(&json!({
            "event": "cost", "program": name, "verified": verified, "jited": jited, "compiler": compiler,
        }));
    }
    if std::env::var_os("KCHAOS_RENEW").is_none() {
        let known: BTreeMap<String, Costs> = serde_json::from_str(SNAPSHOT).unwrap();
        compare(&known, &compiler, &now);
    }
}

fn compare(known: &BTreeMap<String, Costs>, compiler: &str, now: &Costs) {
    let compiler = format!(", rustc {compiler}");
    let line = format!("Linux {}{compiler}", facts().line);
    let Some(before) = known.get(&line) else {
        // Neither a kernel nor a compiler of someone's own has to be there; ours must not be forgotten.
        let ours = facts().expected().is_some() && known.keys().any(|line| line.ends_with(&compiler));
        assert!(!ours, "the snapshot has no {line}: KCHAOS_RENEW=1 adds it");
        return note(&format!("no snapshot for {line}: nothing to compare with"));
    };
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        now.keys().collect::<Vec<_>>(),
        "programs came or went: KCHAOS_RENEW=1 accepts it"
    );
    for (name, cost) in now {
        for (what, old, new) in
            [("verified", before[name].verified, cost.verified), ("jited", before[name].jited, cost.jited)]
        {
            assert!(
                new <= old + old / 10,
                "{name}: {what} rose from {old} to {new}; KCHAOS_RENEW=1 accepts it"
            );
        }
    }
}
