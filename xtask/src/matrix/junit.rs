//! The results as `JUnit` XML, the form that CI systems read: a suite for each kernel, and one for the stages.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{
    Column,
    report::{End, Outcome},
};

/// A stage of `cargo xtask test`.
pub struct Stage {
    pub name: &'static str,
    pub seconds: Duration,
    pub result: StageResult,
}

pub enum StageResult {
    Passed,
    /// With the reason.
    Skipped(String),
    Failed(String),
}

/// Writes the file.
pub fn write(file: &Path, stages: &[Stage], columns: &[Column]) -> Result<()> {
    let mut report = Report::new("kchaos");
    report.add_test_suite(of_stages(stages));
    report.add_test_suites(columns.iter().map(of_kernel));
    let xml = report.to_string().context("the results cannot be written as XML")?;
    fs::write(file, xml).with_context(|| format!("cannot write {}", file.display()))
}

fn of_stages(stages: &[Stage]) -> TestSuite {
    let mut suite = TestSuite::new("stages");
    for stage in stages {
        let status = match &stage.result {
            StageResult::Passed => TestCaseStatus::success(),
            StageResult::Skipped(reason) => skipped(reason),
            StageResult::Failed(reason) => not_passed(NonSuccessKind::Failure, reason),
        };
        suite.add_test_case(case("stages", stage.name, stage.seconds, status));
    }
    suite
}

fn of_kernel(column: &Column) -> TestSuite {
    let name = format!("kernel {}", column.name);
    let mut suite = TestSuite::new(name.clone());
    suite.set_time(column.seconds);
    if let Some(release) = &column.report.release {
        suite.add_property(("release", release.as_str()));
    }
    for test in &column.report.tests {
        let (seconds, status) = match &test.end {
            Some(end) => (seconds(end), status(end)),
            None => (Duration::ZERO, not_passed(NonSuccessKind::Error, "it started and never ended")),
        };
        suite.add_test_case(case(&name, &test.name, seconds, status));
    }
    // What is wrong with the run as a whole has no test to stand beside.
    for problem in column.problems_of_the_run() {
        let status = not_passed(NonSuccessKind::Error, &problem);
        suite.add_test_case(case(&name, "the run", column.seconds, status));
    }
    suite
}

fn seconds(end: &End) -> Duration {
    Duration::try_from_secs_f64(end.seconds).unwrap_or_default()
}

fn status(end: &End) -> TestCaseStatus {
    let reason = end.reason.as_deref().unwrap_or("no reason given");
    match end.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped => skipped(reason),
        Outcome::Failed => not_passed(NonSuccessKind::Failure, reason),
    }
}

fn case(suite: &str, name: &str, seconds: Duration, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(suite).set_time(seconds);
    case
}

fn skipped(reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(reason);
    status
}

/// The first line as the message, everything as the text.
fn not_passed(kind: NonSuccessKind, reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(reason.lines().next().unwrap_or_default()).set_description(reason);
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Stage, StageResult, write};
    use crate::matrix::{Column, Place, Report};

    #[test]
    fn every_outcome_has_its_form() {
        let report = "\
{\"event\":\"kernel\",\"release\":\"6.1.0-56\",\"line\":\"6.1\"}
{\"event\":\"end\",\"test\":\"good\",\"outcome\":\"passed\",\"seconds\":1.5}
{\"event\":\"end\",\"test\":\"left_out\",\"outcome\":\"skipped\",\"reason\":\"no tcx\"}
{\"event\":\"end\",\"test\":\"bad\",\"outcome\":\"failed\",\"reason\":\"1 < 2 & so on\\nmore\"}
{\"event\":\"start\",\"test\":\"cut_off\"}
";
        let column = Column {
            name: "6.1".into(),
            place: Place::Host,
            boot: None,
            seconds: Duration::from_secs(9),
            report: Report::parse(report),
            died: Some("kernel panic while the command ran".into()),
            code: None,
            log: "x.log".into(),
            report_file: "x".into(),
        };
        let stages = [
            Stage { name: "lints", seconds: Duration::from_secs(2), result: StageResult::Passed },
            Stage { name: "matrix", seconds: Duration::ZERO, result: StageResult::Failed("died".into()) },
        ];
        let file = std::env::temp_dir().join(format!("kchaos-junit-{}.xml", std::process::id()));
        write(&file, &stages, &[column]).unwrap();
        let xml = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        for part in [
            r#"<testsuite name="stages" tests="2""#,
            r#"<testsuite name="kernel 6.1" tests="6""#,
            r#"<property name="release" value="6.1.0-56"/>"#,
            r#"<testcase name="good" classname="kernel 6.1" time="1.500""#,
            r#"<skipped message="no tcx"/>"#,
            r#"<failure message="1 &lt; 2 &amp; so on""#,
            r#"<error message="it started and never ended""#,
            r#"<error message="kernel panic while the command ran""#,
        ] {
            assert!(xml.contains(part), "{part} is not in\n{xml}");
        }
    }
}
