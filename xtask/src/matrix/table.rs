//! What a person sees of a matrix at its end: a line for each kernel, every skip with its reason, every failure.

use std::collections::BTreeMap;

use super::{Column, report::Outcome};

/// The line for each kernel.
pub fn table(columns: &[Column]) -> String {
    let mut rows =
        vec![["kernel", "booted in", "passed", "failed", "skipped", "seconds", ""].map(str::to_owned)];
    for column in columns {
        let counts = column.report.counts();
        let kernel = match &column.report.release {
            Some(release) => format!("{} ({release})", column.name),
            None => column.name.clone(),
        };
        let boot = column.boot.map_or_else(|| "-".to_owned(), |boot| format!("{:.1}", boot.as_secs_f64()));
        let verdict = match &column.died {
            Some(_) => "DIED",
            None if column.problems().is_empty() => "passed",
            None => "FAILED",
        };
        let failed = counts.failed + column.report.unended().count();
        rows.push([
            kernel,
            boot,
            counts.passed.to_string(),
            failed.to_string(),
            counts.skipped.to_string(),
            format!("{:.1}", column.seconds.as_secs_f64()),
            verdict.to_owned(),
        ]);
    }
    aligned(&rows)
}

/// The first column to the left, numbers to the right.
fn aligned(rows: &[[String; 7]]) -> String {
    let width = |index: usize| {
        rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().enumerate().map(|(index, cell)| match index {
                0 => format!("{cell:<0$}", width(0)),
                6 => cell.clone(),
                _ => format!("{cell:>0$}", width(index)),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Every reason for which tests were skipped, once, with the kernels and how many tests.
pub fn skips(columns: &[Column]) -> String {
    let mut reasons: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for column in columns {
        for (_, end) in column.report.ended().filter(|(_, end)| end.outcome == Outcome::Skipped) {
            let reason = end.reason.as_deref().unwrap_or("no reason given");
            let what = match &end.feature {
                Some(feature) if !reason.contains(feature.as_str()) => format!("{feature}: {reason}"),
                _ => reason.to_owned(),
            };
            *reasons.entry(what).or_default().entry(&column.name).or_default() += 1;
        }
    }
    let lines = reasons.iter().map(|(reason, kernels)| {
        let kernels: Vec<_> = kernels.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        format!("skipped  {reason} ({})", kernels.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every failure, by kernel and test.
pub fn failures(columns: &[Column]) -> String {
    let lines = columns.iter().flat_map(|column| {
        let say =
            |problem: String| format!("FAILED   {}: {}", column.name, problem.replace('\n', "\n         "));
        column.problems().into_iter().map(say).chain(
            (!column.problems().is_empty())
                .then(|| format!("         all it said: {}", column.log.display())),
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{failures, skips, table};
    use crate::matrix::{Column, Place, Report};

    fn column(name: &str, died: Option<&str>, report: &str) -> Column {
        Column {
            name: name.into(),
            place: Place::Host,
            boot: (name != "host").then(|| Duration::from_millis(3_140)),
            seconds: Duration::from_secs(61),
            report: Report::parse(report),
            died: died.map(str::to_owned),
            code: None,
            log: "/logs/x.log".into(),
            report_file: "x".into(),
        }
    }

    const SKIPPED: &str = "{\"event\":\"kernel\",\"release\":\"6.1.0-56\",\"line\":\"6.1\"}\n\
        {\"event\":\"end\",\"test\":\"a\",\"outcome\":\"skipped\",\"reason\":\"no tcx\",\"feature\":\"tc_egress\"}\n\
        {\"event\":\"end\",\"test\":\"b\",\"outcome\":\"skipped\",\"reason\":\"no tcx\",\"feature\":\"tc_egress\"}\n\
        {\"event\":\"done\",\"passed\":0,\"failed\":0,\"skipped\":2}\n";

    #[test]
    fn the_table_lines_up() {
        let text = table(&[
            column("host", None, SKIPPED),
            column("6.1", Some("kernel panic"), "{\"event\":\"start\",\"test\":\"a\"}\n"),
        ]);
        assert_eq!(
            text,
            "kernel           booted in  passed  failed  skipped  seconds\n\
             host (6.1.0-56)          -       0       0        2     61.0  passed\n\
             6.1                    3.1       0       1        0     61.0  DIED"
        );
    }

    #[test]
    fn a_reason_is_given_once() {
        let text = skips(&[column("host", None, SKIPPED), column("6.1", None, SKIPPED)]);
        assert_eq!(text, "skipped  tc_egress: no tcx (6.1: 2, host: 2)");
        assert_eq!(skips(&[]), "");
    }

    #[test]
    fn failures_are_named_with_their_kernel() {
        let text = failures(&[
            column(
                "6.1",
                Some("kernel panic while the command ran"),
                "{\"event\":\"start\",\"test\":\"a\"}\n",
            ),
            column("host", None, SKIPPED),
        ]);
        assert!(text.starts_with("FAILED   6.1: kernel panic while the command ran\n"), "{text}");
        assert!(text.contains("FAILED   6.1: a: it started and never ended\n"), "{text}");
        assert!(!text.contains("host"), "{text}");
    }
}
