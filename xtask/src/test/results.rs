//! What is told at the end of a run: a table of the kernels and one of the stages.

use std::time::Duration;

use crate::matrix::{
    Column,
    junit::{self, StageResult},
    table,
};

/// The table of the kernels, with what was skipped and what failed.
pub fn print_kernels(columns: &[Column]) {
    if columns.is_empty() {
        return;
    }
    println!("\n{}", table::table(columns));
    for text in [table::skips(columns), table::failures(columns)] {
        if !text.is_empty() {
            println!("\n{text}");
        }
    }
}

/// A line of the table at the end.
pub struct Row {
    pub name: &'static str,
    pub seconds: Duration,
    pub result: StageResult,
}

impl Row {
    /// One that was not run.
    pub fn left_out(name: &'static str, reason: &str) -> Self {
        Self { name, seconds: Duration::ZERO, result: StageResult::Skipped(reason.to_owned()) }
    }

    /// How it ended, in a word or with its reason.
    pub fn said(&self) -> &str {
        match &self.result {
            StageResult::Passed => "passed",
            StageResult::Skipped(reason) => reason,
            StageResult::Failed(_) => "FAILED",
        }
    }

    /// The same for a file that machines read.
    pub fn into_junit(self) -> junit::Stage {
        junit::Stage { name: self.name, seconds: self.seconds, result: self.result }
    }
}

/// All rows under a heading, and the sum.
pub fn lines(rows: &[Row], total: Duration) -> String {
    let line = |name: &str, seconds: &str, result: &str| format!("{name:<28}{seconds:>8}  {result}");
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    let mut lines = vec![line("stage", "seconds", "result")];
    lines.extend(rows.iter().map(|row| line(row.name, &seconds(row.seconds), row.said())));
    lines.push(line("total", &seconds(total), ""));
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}
