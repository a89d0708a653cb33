//! What each program costs the verifier and the CPU's instruction cache, held against a committed snapshot: a rise of more
//! than a tenth fails until the snapshot is renewed on purpose (`KCHAOS_RENEW=1 cargo xtask test`).
//!
//! The verifier counts differently from kernel to kernel, and the programs differ from compiler to compiler; so there is
//! one list for each line of both that the project is built and tested with.

use std::{collections::BTreeMap, fs, path::PathBuf};

use chaos_daemon::bpf::{COMPILER, Feature, Object};
use kchaos_tests::serial;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Cost {
    /// Instructions that the verifier walked.
    verified: u32,
    /// Bytes of machine code.
    jited: u32,
}

type Costs = BTreeMap<String, Cost>;

/// "Linux 6.18, rustc 1.96".
fn line() -> String {
    let first_two = |release: &str| release.split('.').take(2).collect::<Vec<_>>().join(".");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    format!("Linux {}, rustc {}", first_two(&kernel), first_two(COMPILER))
}

fn measured() -> Costs {
    let object = Object::load(&Feature::ALL.map(Feature::any_way)).unwrap();
    object
        .costs()
        .unwrap()
        .into_iter()
        .map(|(name, verified, jited)| (name.to_owned(), Cost { verified, jited }))
        .collect()
}

#[test]
fn no_program_became_dearer() {
    let _serial = serial();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots/verifier.json");
    let mut known: BTreeMap<String, Costs> = fs::read_to_string(&path)
        .map_or_else(|_| BTreeMap::new(), |text| serde_json::from_str(&text).unwrap());
    let (line, now) = (line(), measured());
    println!("{line}: {now:#?}");
    if std::env::var_os("KCHAOS_RENEW").is_some() {
        known.insert(line, now);
        fs::write(&path, serde_json::to_string_pretty(&known).unwrap() + "\n").unwrap();
        return;
    }
    let Some(before) = known.get(&line) else {
        println!("no snapshot for {line}: nothing to compare with");
        return;
    };
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        now.keys().collect::<Vec<_>>(),
        "programs came or went: renew"
    );
    for (name, cost) in &now {
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
