//! Proof that a failure is seen, on every kernel: tests that must fail are run, and have to be reported as
//! failed, by name and with their reason. A matrix that cannot fail says nothing.

use std::fs;

use anyhow::{Result, bail};

use super::{Column, Matrix, Place, Report, report::Outcome};

/// Fail by themselves.
const BROKEN: [&str; 3] = ["broken::assertion", "broken::beside_others", "broken::program"];
/// Never ends; the suite's watchdog has to.
const HANGS: &str = "broken::hangs";
/// Takes the machine with it.
const PANICS: &str = "broken::panic_the_kernel";

/// What a shell runs: each run of the suite appends to the report, and its exit code to the output. The
/// watchdog's limit is short, as nothing is computed meanwhile.
fn script(suite: &str, guest: bool) -> String {
    let mut script = format!(
        "export KCHAOS_BROKEN=1 KCHAOS_CHECKED=\"$(\"$KCHAOS_BIN\" check --output json)\"\n\
         {suite}; echo \"harness code $?\"\n\
         KCHAOS_LIMIT=3 {suite} --exact {HANGS}; echo \"harness code $?\"\n"
    );
    if guest {
        script += &format!("{suite} --exact {PANICS}; echo \"harness code $?\"\n");
    }
    script
}

/// Runs the broken tests everywhere; the error names what was not seen.
pub fn run(matrix: &Matrix) -> Result<Vec<Column>> {
    let command = |place: &Place| {
        let guest = !matches!(place, Place::Host);
        let suite = if guest { "kchaos-suite".to_owned() } else { matrix.suite.tests.display().to_string() };
        vec!["sh".to_owned(), "-c".to_owned(), script(&suite, guest)]
    };
    let columns = matrix.run("harness", &command)?;
    let mut wrong = Vec::new();
    for column in &columns {
        let said = fs::read_to_string(&column.log).unwrap_or_default();
        let reports = Report::parse_runs(&fs::read_to_string(&column.report_file).unwrap_or_default());
        let missed = missed(column, &said, &reports);
        if missed.is_empty() {
            println!("harness  {}: every broken test was seen to fail", column.name);
        }
        wrong.extend(missed.into_iter().map(|what| format!("{}: {what}", column.name)));
    }
    if !wrong.is_empty() {
        bail!("failures go unseen:\n  {}", wrong.join("\n  "));
    }
    Ok(columns)
}

/// What should have been reported as a failure and was not.
fn missed(column: &Column, said: &str, reports: &[Report]) -> Vec<String> {
    let mut missed = Vec::new();
    let mut expect = |seen: bool, what: &str| {
        if !seen {
            missed.push(what.to_owned());
        }
    };
    let codes: Vec<&str> =
        said.lines().filter_map(|line| line.trim().strip_prefix("harness code ")).collect();
    expect(codes == ["101", "101"], &format!("the suite's exit codes are {codes:?} and not 101, 101"));
    for name in BROKEN {
        let seen = failed(reports.first(), name).is_some_and(|reason| !reason.is_empty());
        expect(seen, &format!("{name} is not reported as failed, with its reason"));
    }
    let stopped = failed(reports.get(1), HANGS).is_some_and(|reason| reason.contains("still running"));
    expect(stopped, &format!("{HANGS} is not ended by the watchdog and reported"));
    if column.place == Place::Host {
        expect(column.died.is_none(), "the host's runs did not come to their end");
    } else {
        let named = reports.get(2).is_some_and(|report| report.unended().any(|name| name == PANICS));
        expect(named, &format!("{PANICS} is not known to have been running when the machine died"));
        let panicked = column.died.as_deref().is_some_and(|reason| reason.contains("kernel panic"));
        expect(panicked, &format!("the kernel's panic is not seen; the run ended with {:?}", column.died));
        expect(!column.problems().is_empty(), "a guest that died counts as a success");
    }
    missed
}

fn failed<'a>(report: Option<&'a Report>, name: &str) -> Option<&'a str> {
    let (_, end) = report?.ended().find(|(known, end)| *known == name && end.outcome == Outcome::Failed)?;
    end.reason.as_deref()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BROKEN, HANGS, PANICS, missed, script};
    use crate::matrix::{Column, Place, Report};

    fn column(place: Place, died: Option<&str>) -> Column {
        Column {
            name: "6.1".into(),
            place,
            boot: None,
            seconds: Duration::ZERO,
            report: Report::default(),
            died: died.map(str::to_owned),
            code: None,
            log: "log".into(),
            report_file: "report".into(),
        }
    }

    fn reports() -> String {
        let kernel = "{\"event\":\"kernel\",\"release\":\"6.1.0\",\"line\":\"6.1\"}\n";
        let end = |name: &str, reason: &str| {
            format!(
                "{{\"event\":\"end\",\"test\":\"{name}\",\"outcome\":\"failed\",\"reason\":\"{reason}\"}}\n"
            )
        };
        let broken: String = BROKEN.iter().map(|name| end(name, "wrong on purpose")).collect();
        let hangs = end(HANGS, "still running after 3 s");
        format!("{kernel}{broken}{kernel}{hangs}{kernel}{{\"event\":\"start\",\"test\":\"{PANICS}\"}}\n")
    }

    const SAID: &str = "running 2 tests\nharness code 101\r\nharness code 101\n";

    #[test]
    fn a_harness_that_sees_everything_passes() {
        let guest = column(Place::Guest("6.1".parse().unwrap()), Some("kernel panic while the command ran"));
        assert_eq!(missed(&guest, SAID, &Report::parse_runs(&reports())), [""; 0]);
        assert_eq!(missed(&column(Place::Host, None), SAID, &Report::parse_runs(&reports())), [""; 0]);
    }

    #[test]
    fn whatever_is_not_seen_is_named() {
        let guest = || Place::Guest("6.1".parse().unwrap());
        let panicked = Some("kernel panic while the command ran");
        for (column, said, from, what) in [
            (column(guest(), panicked), SAID, BROKEN[0], "broken::assertion is not reported"),
            (column(guest(), panicked), SAID, "still running", "broken::hangs is not ended"),
            (column(guest(), panicked), SAID, PANICS, "is not known to have been running"),
            (column(guest(), None), SAID, "", "panic is not seen"),
            (column(guest(), panicked), "harness code 0\nharness code 101\n", "", "exit codes"),
            (column(Place::Host, Some("killed")), SAID, "", "did not come to their end"),
        ] {
            let text = if from.is_empty() { reports() } else { reports().replace(from, "other") };
            let missed = missed(&column, said, &Report::parse_runs(&text));
            assert!(missed.iter().any(|line| line.contains(what)), "{what}: {missed:?}");
        }
    }

    #[test]
    fn only_a_guest_is_made_to_panic() {
        assert!(!script("suite", false).contains(PANICS));
        assert!(
            script("suite", true).ends_with(&format!("suite --exact {PANICS}; echo \"harness code $?\"\n"))
        );
    }
}
