//! The table of docs/KERNELS.md: what every line of kernels can do, as the suite has found out by doing it.
//!
//! A run replaces the columns of the kernels it ran on and keeps the others. The same answers give the same
//! text, and a text that does not change is not written.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

use super::report::{Feature, Report};
use crate::version::Version;

const BEGIN: &str = "<!-- kernels:begin -->";
const END: &str = "<!-- kernels:end -->";

/// What stands for "not tried".
const UNKNOWN: &str = "?";

/// Rows by feature and what it serves; cells by line of kernels.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    rows: BTreeMap<(String, String), BTreeMap<String, String>>,
}

/// Brings the table up to date for the lines that are known; says whether anything changed.
pub fn update<'a>(file: &Path, known: &[String], reports: impl Iterator<Item = &'a Report>) -> Result<bool> {
    let before = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (head, rest) = before
        .split_once(BEGIN)
        .with_context(|| format!("{} has no place for the table of kernels, {BEGIN}", file.display()))?;
    let (old, tail) = rest
        .split_once(END)
        .with_context(|| format!("{}: {BEGIN} is not followed by {END}", file.display()))?;
    let mut table = Table::parse(old);
    for report in reports {
        if let Some(line) = report.line.as_ref().filter(|line| known.contains(line)) {
            table.replace(line, &report.features);
        }
    }
    let after = format!("{head}{BEGIN}\n{}{END}{tail}", table.written());
    if after == before {
        return Ok(false);
    }
    fs::write(file, after).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(true)
}

/// The lines that the table of expectations has.
pub fn known_lines(expectations: &str) -> Result<Vec<String>> {
    let table: toml::Table = expectations.parse().context("tests/expectations.toml cannot be read")?;
    Ok(table.keys().cloned().collect())
}

impl Table {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(cells).filter(|cells| cells.len() > 2);
        let lines_of_kernels: Vec<String> = lines.next().unwrap_or_default().into_iter().skip(2).collect();
        let mut table = Self::default();
        for mut row in lines.filter(|row| !row.iter().all(|cell| cell.chars().all(|c| c == '-'))) {
            let answers = row.split_off(2);
            let (Some(serves), Some(feature)) = (row.pop(), row.pop()) else { continue };
            let feature = feature.trim_matches('`').to_owned();
            table.rows.insert((feature, serves), lines_of_kernels.iter().cloned().zip(answers).collect());
        }
        table
    }

    /// Puts in what a kernel answered, in place of what it had answered before.
    fn replace(&mut self, line: &str, features: &[Feature]) {
        if features.is_empty() {
            // It was not asked.
            return;
        }
        for row in self.rows.values_mut() {
            row.remove(line);
        }
        for feature in features {
            let key = (feature.name.clone(), plain(&feature.serves));
            self.rows.entry(key).or_default().insert(line.to_owned(), answer(feature));
        }
        // A row that nobody answers any more is one of an earlier time.
        self.rows.retain(|_, row| row.values().any(|answer| answer != UNKNOWN));
    }

    fn written(&self) -> String {
        let mut lines: Vec<&String> = self.rows.values().flat_map(BTreeMap::keys).collect();
        lines.sort_by_key(|line| (Version::find(line), line.as_str()));
        lines.dedup();
        let row = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let mut text =
            row(["feature", "for"].into_iter().chain(lines.iter().map(|line| line.as_str())).collect());
        text += &format!("{}|\n", "|---".repeat(lines.len() + 2));
        for ((feature, serves), answers) in &self.rows {
            let feature = format!("`{feature}`");
            let answers = lines.iter().map(|line| answers.get(*line).map_or(UNKNOWN, String::as_str));
            text += &row([feature.as_str(), serves].into_iter().chain(answers).collect());
        }
        text
    }
}

/// The cells of a row of a table.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// "yes, by tcx", "degraded, by EPERM only: unknown func", "no: no tcx".
fn answer(feature: &Feature) -> String {
    let mut text = feature.answer.clone();
    if let Some(way) = &feature.way {
        text += &format!(", by {way}");
    }
    if let (Some(reason), false) = (&feature.reason, feature.answer == "yes") {
        text += &format!(": {reason}");
    }
    plain(&text)
}

/// On one line, and without what would end a cell.
fn plain(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::{Table, known_lines, update};
    use crate::matrix::report::Report;

    const DOC: &str = "# Kernels\n\n<!-- kernels:begin -->\n\
        | feature | for | 6.1 | 6.18 |\n\
        |---|---|---|---|\n\
        | `gone` | old things | yes | ? |\n\
        | `tc_egress` | drop, direction egress | no: no tcx | yes, by tcx |\n\
        <!-- kernels:end -->\n\nmore\n";

    fn report(line: &str, features: &str) -> Report {
        Report::parse(&format!(
            "{{\"event\":\"kernel\",\"release\":\"{line}.0\",\"line\":\"{line}\"}}\n{features}\n"
        ))
    }

    fn egress(answer: &str, way: &str) -> String {
        format!(
            "{{\"event\":\"feature\",\"feature\":\"tc_egress\",\"serves\":\"drop, direction egress\",\
             \"answer\":\"{answer}\",\"way\":\"{way}\",\"reason\":\"a | b\\nc\"}}"
        )
    }

    fn after(name: &str, doc: &str, reports: &[Report]) -> (bool, String) {
        let file: PathBuf = std::env::temp_dir().join(format!("kchaos-doc-{name}-{}.md", std::process::id()));
        fs::write(&file, doc).unwrap();
        let known = known_lines("[\"6.1\"]\na = 1\n[\"6.18\"]\n[\"5.10\"]\n").unwrap();
        let changed = update(&file, &known, reports.iter()).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        (changed, text)
    }

    #[test]
    fn a_run_replaces_its_columns_and_keeps_the_others() {
        let reports =
            [report("6.1", &egress("degraded", "clsact")), report("5.10", &egress("yes", "clsact"))];
        let (changed, text) = after("merge", DOC, &reports);
        assert!(changed);
        assert_eq!(
            text,
            "# Kernels\n\n<!-- kernels:begin -->\n\
             | feature | for | 5.10 | 6.1 | 6.18 |\n\
             |---|---|---|---|---|\n\
             | `tc_egress` | drop, direction egress | yes, by clsact | degraded, by clsact: a / b c | yes, by tcx |\n\
             <!-- kernels:end -->\n\nmore\n"
        );
        assert_eq!(after("again", &text, &reports), (false, text.clone()), "the same answers, the same text");
    }

    #[test]
    fn what_was_not_asked_or_is_not_known_changes_nothing() {
        let reports = [report("6.1", ""), report("6.99", &egress("yes", "tcx"))];
        assert_eq!(after("same", DOC, &reports), (false, DOC.to_owned()));
    }

    #[test]
    fn a_lost_place_is_an_error_and_not_a_table_that_stays_old() {
        let file = std::env::temp_dir().join(format!("kchaos-doc-bare-{}.md", std::process::id()));
        fs::write(&file, "# no table\n").unwrap();
        let error = update(&file, &[], std::iter::empty()).unwrap_err();
        fs::remove_file(&file).unwrap();
        assert!(error.to_string().contains("no place for the table"), "{error}");
    }

    #[test]
    fn an_empty_table_can_be_filled() {
        let (changed, text) = after(
            "empty",
            "<!-- kernels:begin --><!-- kernels:end -->",
            &[report("6.1", &egress("yes", "tcx"))],
        );
        assert!(changed);
        assert!(text.contains("| `tc_egress` | drop, direction egress | yes, by tcx |\n"), "{text}");
        assert_eq!(
            Table::parse(&text).written(),
            text.replace("<!-- kernels:begin -->\n", "").replace("<!-- kernels:end -->", "")
        );
    }
}
