//! Records for tests, made by hand: one of each verdict, and some that are meant to break what reads them.

use serde_json::json;

use super::{
    By, File, Finding, Git, Injections, Probe, Record, Sample, State, Stop, Times, VERSION, Verdict,
};

/// Text that is markup, code or a command wherever somebody is careless.
pub const ODD: &str = "</title><script>alert(1)</script> | a `b` ``c`` **d** [e](http://x) \u{1b}[2J\u{0}\u{202e}שלום ]]> & \"'\r\n# f";

fn sample(at: f64, value: f64, state: State) -> Sample {
    let note = (state == State::Broken).then(|| format!("{value} is not < 0.005"));
    Sample { at, value: Some(value), state, note }
}

/// A share of errors that rises ten seconds after the faults went on, and falls when they go off.
pub fn error_rate() -> Probe {
    let samples = (-20..100).map(|second| {
        let at = f64::from(second);
        match second {
            40 => Sample { at, state: State::Unknown, ..Sample::default() },
            10..=62 => sample(at, 0.18, State::Broken),
            _ => sample(at, 0.0005, State::Well),
        }
    });
    Probe {
        name: "error rate".to_owned(),
        what: "prometheus: sum(rate(errors[1m]))".to_owned(),
        expect: "< 0.5%".to_owned(),
        during: Some("< 1%".to_owned()),
        tolerate_seconds: 5.0,
        bound: Some(0.01),
        unit: "%".to_owned(),
        baseline: Some(0.0005),
        worst: Some(0.18),
        broke_at: Some(10.0),
        broken_seconds: 53.0,
        recovered_at: Some(63.0),
        held: Some(false),
        samples: samples.collect(),
    }
}

/// A page that answers all the time, without numbers.
pub fn page() -> Probe {
    let samples =
        (-20..100).map(|second| Sample { at: f64::from(second), state: State::Well, ..Sample::default() });
    Probe {
        name: "page".to_owned(),
        what: "http://127.0.0.1:5432/".to_owned(),
        expect: "200".to_owned(),
        held: Some(true),
        samples: samples.collect(),
        ..Probe::default()
    }
}

fn alice() -> By {
    By {
        user: "alice".to_owned(),
        host: "web-1".to_owned(),
        kernel: "6.12.9".to_owned(),
        kchaos: "0.1.0".to_owned(),
        through: "run".to_owned(),
    }
}

fn slow_postgres() -> File {
    File {
        path: Some("/srv/chaos/slow-postgres.toml".to_owned()),
        text: "duration = \"60s\"\n[target]\nunit = \"checkout.service\"\n[[fault]]\nkind = \"delay\"\n\
               delay = \"3s\"\npeer = \":5432\"\n"
            .to_owned(),
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        git: Some(Git { commit: "7d86e693c0ffee".to_owned(), modified: true }),
    }
}

/// A hypothesis that was wrong, with everything that a record can have.
pub fn falsified() -> Record {
    Record {
        version: VERSION,
        id: "slow-postgres-20261123T013000Z-abcd".to_owned(),
        experiment: "slow-postgres".to_owned(),
        hypothesis: Some("While Postgres answers late, the error rate stays below 0.5 %".to_owned()),
        tags: vec!["postgres".to_owned(), "checkout".to_owned()],
        verdict: Verdict {
            verdict: Finding::Falsified,
            reason: "error rate was 18 % for 53 s, and < 1% was expected".to_owned(),
        },
        by: alice(),
        file: slow_postgres(),
        times: Times {
            baseline: Some("2026-11-23T01:29:40.000Z".to_owned()),
            started: Some("2026-11-23T01:30:00.000Z".to_owned()),
            ended: Some("2026-11-23T01:31:00.000Z".to_owned()),
            finished: "2026-11-23T01:31:40.000Z".to_owned(),
            time_box_seconds: 60.0,
            on_seconds: 60.0,
            recovery_seconds: Some(3.0),
        },
        probes: vec![error_rate(), page()],
        injections: vec![Injections {
            fault: "late".to_owned(),
            kind: "delay".to_owned(),
            counts: (0..=60_u32).map(|second| (f64::from(second), u64::from(second) * 20)).collect(),
        }],
        stops: vec![Stop {
            name: "users are hurt".to_owned(),
            what: "error rate > 20% for 10s".to_owned(),
            probe: Some("error rate".to_owned()),
            bound: Some(0.2),
            stopped_at: None,
        }],
        result: Some(json!({
            "experiment": "slow-postgres", "mode": "inject", "seed": 42, "target": "unit checkout.service",
            "faults": [{ "fault": "late", "kind": "delay", "effect": "arrives 3 s later", "matched": 5000,
                         "injected": 1200, "skipped": { "shadow": 0, "probability": 3800 } }],
        })),
    }
}

/// The same with another verdict.
pub fn with(finding: Finding, reason: &str) -> Record {
    let mut record = falsified();
    record.verdict = Verdict { verdict: finding, reason: reason.to_owned() };
    record
}

/// One that held: nothing ever broke.
pub fn held() -> Record {
    let mut record = with(Finding::Held, "everything was as expected");
    let probe = &mut record.probes[0];
    *probe = Probe { held: Some(true), broke_at: None, worst: None, recovered_at: None, ..probe.clone() };
    probe.samples.retain(|sample| sample.state == State::Well);
    record
}

/// One whose steady state was not there at the beginning: nothing was applied.
pub fn inconclusive() -> Record {
    let mut record = with(Finding::Inconclusive, "steady state was not there at the beginning");
    record.times =
        Times { started: None, ended: None, on_seconds: 0.0, recovery_seconds: None, ..record.times };
    (record.result, record.injections) = (None, Vec::new());
    for probe in &mut record.probes {
        probe.samples.retain(|sample| sample.at < 0.0);
        (probe.held, probe.broke_at, probe.recovered_at) = (None, None, None);
    }
    record
}

/// One that a condition stopped.
pub fn stopped() -> Record {
    let mut record = with(Finding::Stopped, "stopped by its condition \"users are hurt\"");
    record.stops[0].stopped_at = Some(30.0);
    record.times.on_seconds = 30.0;
    record.probes[1].held = None;
    record
}

/// One without probes.
pub fn not_asked() -> Record {
    let mut record = with(Finding::NotAsked, "the file has no probes");
    (record.probes, record.stops, record.hypothesis) = (Vec::new(), Vec::new(), None);
    record
}

/// Every text in it is markup, and every number is odd.
pub fn odd() -> Record {
    let mut record = falsified();
    let text = || ODD.to_owned();
    (record.experiment, record.hypothesis, record.tags) = (text(), Some(text()), vec![text()]);
    record.verdict.reason = text();
    record.by = By { user: text(), host: text(), kernel: text(), kchaos: text(), through: text() };
    record.file = File {
        path: Some(text()),
        text: format!("{ODD}\n````\n</code></pre><script>"),
        sha256: text(),
        git: Some(Git { commit: text(), modified: true }),
    };
    record.times.finished = text();
    (record.times.recovery_seconds, record.times.on_seconds) = (Some(f64::NAN), f64::INFINITY);
    for probe in &mut record.probes {
        (probe.name, probe.what, probe.expect, probe.during) = (text(), text(), text(), Some(text()));
        (probe.unit, probe.bound) = (text(), Some(f64::NEG_INFINITY));
        for sample in &mut probe.samples {
            (sample.note, sample.state) = (Some(text()), State::Broken);
        }
        probe.samples[3].at = f64::NAN;
        probe.samples[4].value = Some(f64::MAX);
    }
    record.stops[0] = Stop { name: text(), what: text(), probe: Some(text()), ..record.stops[0].clone() };
    record.injections[0].fault = text();
    record.result = Some(json!({ "target": ODD, "mode": ODD, "seed": 1, "faults": [
        { "fault": ODD, "kind": ODD, "effect": ODD, "matched": 1, "injected": u64::MAX, "skipped": {} }, ODD, null ] }));
    record
}

/// An hour with twenty probes, one look a second, as restless as can be.
pub fn long() -> Record {
    let mut record = falsified();
    (record.times.time_box_seconds, record.times.on_seconds) = (3600.0, 3600.0);
    let probe = |number: u32| {
        let samples = (-60..3660_i32).map(|second| {
            let value = f64::from((second.unsigned_abs().wrapping_mul(0x9e37_79b1 ^ number)) % 1000) / 999.0;
            let state = match second.rem_euclid(3) {
                0 => State::Broken,
                1 => State::Well,
                _ if second % 5 == 0 => State::Unknown,
                _ => State::Well,
            };
            sample(f64::from(second), value, state)
        });
        Probe { name: format!("probe {number}"), samples: samples.collect(), ..error_rate() }
    };
    record.probes = (0..20).map(probe).collect();
    record
}
