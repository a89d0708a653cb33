//! `JUnit` XML, which every CI system reads: a suite for each experiment, in it a case for each probe and one for the
//! verdict.
//!
//! A hypothesis that was falsified is a failure. One that nobody can judge, because the run was stopped or nothing was
//! learned, is an error: a gate must not open for it. What nobody asked is skipped. The crate drops characters that
//! XML does not allow; they are written out before that, so that nothing disappears.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
use thiserror::Error;

use super::{
    Finding, Probe, Record,
    plain::{plain, time_of_day},
    words,
};

/// It could not be written as XML.
#[derive(Debug, Error)]
#[error("writing JUnit XML: {0}")]
pub struct JunitError(#[from] quick_junit::SerializeError);

/// The XML of these runs.
pub fn render(records: &[Record]) -> Result<String, JunitError> {
    let mut report = Report::new("kchaos");
    report.add_test_suites(records.iter().map(suite));
    Ok(report.to_string()?)
}

fn suite(record: &Record) -> TestSuite {
    let name = plain(&record.experiment);
    let mut suite = TestSuite::new(name.clone());
    let on = Duration::try_from_secs_f64(record.times.on_seconds).unwrap_or_default();
    suite.set_time(on);
    for (key, value) in properties(record) {
        suite.add_property(Property::new(key, plain(&value)));
    }
    for probe in &record.probes {
        suite.add_test_case(case(&name, &plain(&probe.name), Duration::ZERO, of_probe(record, probe)));
    }
    suite.add_test_case(case(&name, "verdict", on, of_verdict(record)));
    suite
}

fn properties(record: &Record) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("record", record.id.clone()),
        ("verdict", words::word(record.verdict.verdict).to_owned()),
        ("started", time_of_day(words::began(record))),
        ("host", record.by.host.clone()),
        ("sha256", record.file.sha256.clone()),
    ];
    all.extend(record.hypothesis.clone().map(|hypothesis| ("hypothesis", hypothesis)));
    all.extend(record.file.git.as_ref().map(|git| ("commit", git.commit.clone())));
    all
}

fn case(suite: &str, name: &str, time: Duration, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(suite).set_time(time);
    case
}

/// Its own part of the hypothesis, whatever became of the whole.
fn of_probe(record: &Record, probe: &Probe) -> TestCaseStatus {
    let said = format!("expected {}: {}", words::expected(probe), words::summary(probe));
    match (probe.held, record.verdict.verdict) {
        (Some(true), _) => TestCaseStatus::success(),
        (Some(false), _) => bad(NonSuccessKind::Failure, &said),
        (None, Finding::NotAsked) => skipped(&said),
        (None, _) => bad(NonSuccessKind::Error, &format!("nobody can tell: {said}")),
    }
}

fn of_verdict(record: &Record) -> TestCaseStatus {
    let finding = record.verdict.verdict;
    let said = format!("{}: {}", words::result(finding), plain(&record.verdict.reason));
    match finding {
        Finding::Held => TestCaseStatus::success(),
        Finding::Falsified => bad(NonSuccessKind::Failure, &said),
        Finding::Stopped | Finding::Inconclusive => bad(NonSuccessKind::Error, &said),
        Finding::NotAsked => skipped(&said),
    }
}

fn bad(kind: NonSuccessKind, said: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(said);
    status
}

fn skipped(said: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(said);
    status
}
