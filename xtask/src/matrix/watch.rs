//! What is told about a run while it goes on, and kept of it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Column, Report};
use crate::vm::Audience;

/// How often a word is said about a run that goes on.
const WORD: Duration = Duration::from_secs(30);

/// Follows one run: what it says goes into its log, and a word now and then to the user.
pub struct Watch {
    name: String,
    /// Where everything goes that is said.
    pub log: File,
    report: PathBuf,
    /// How long booting took, once it is known.
    pub boot: Option<Duration>,
    said: Instant,
}

impl Watch {
    pub fn new(name: &str, log: File, report: &Path) -> Self {
        Self { name: name.to_owned(), log, report: report.to_path_buf(), boot: None, said: Instant::now() }
    }

    fn say(&mut self, what: &str) {
        // In one piece, as another run may have something to say.
        println!("{:<8} {what}", self.name);
        self.said = Instant::now();
    }

    /// One line about a run that is over.
    pub fn say_the_end(&mut self, column: &Column) {
        let counts = column.report.counts();
        let end = match (&column.died, column.problems().is_empty()) {
            (Some(reason), _) => format!("died: {}", reason.lines().next().unwrap_or_default()),
            (None, true) => "passed".to_owned(),
            (None, false) => "FAILED".to_owned(),
        };
        self.say(&format!(
            "{} passed, {} failed, {} skipped in {:.1} s: {end}",
            counts.passed,
            counts.failed,
            counts.skipped,
            column.seconds.as_secs_f64()
        ));
    }
}

impl Audience for Watch {
    fn output(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.log.write_all(bytes)
    }

    fn ready(&mut self, boot: Duration) {
        self.boot = Some(boot);
        self.say(&format!("booted in {:.1} s", boot.as_secs_f64()));
    }

    fn glance(&mut self) {
        if self.said.elapsed() > WORD {
            let report = Report::parse_runs(&text(&self.report)).pop().unwrap_or_default();
            let running = report.unended().last().unwrap_or("nothing that it tells of").to_owned();
            self.say(&format!("{} tests done, running {running}", report.ended().count()));
        }
    }
}

/// A report, or nothing.
pub fn text(file: &Path) -> String {
    // A run that died may have left anything, or nothing at all.
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
