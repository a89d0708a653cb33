//! The suite on this machine and on other kernels, and what is made of its reports.
//!
//! The suite judges its tests; this judges the runs. A guest that dies, a report that stops and a suite that
//! ends without a word are failures here, as they would be nowhere else.

pub mod harness;
pub mod junit;
pub mod kernels_doc;
mod report;
mod run;
mod servers;
pub mod snapshot;
mod suite;
pub mod table;
mod watch;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Result, bail};

use crate::vm::{self, Choice, LINES};
pub use report::Report;
pub use run::{Matrix, Shared};
pub use suite::Suite;

/// Where the suite can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This machine.
    Host,
    /// A virtual machine with this kernel.
    Guest(Choice),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "host" {
            return Ok(Self::Host);
        }
        text.parse().map(Self::Guest).map_err(|error| format!("{error}; or `host`, this machine"))
    }
}

impl Place {
    /// This machine and every line of Debian's kernels.
    pub fn all() -> Vec<Self> {
        let guests = LINES.iter().map(|(line, _)| Self::Guest(Choice::Line(line)));
        std::iter::once(Self::Host).chain(guests).collect()
    }

    /// What is enough between two edits: the oldest kernel has the strictest verifier and needs every
    /// substitute, and this machine's is new.
    pub fn few() -> Vec<Self> {
        Self::all().into_iter().take(2).collect()
    }

    /// Refuses places whose logs would be one file, and modules that belong to none of them.
    pub fn check(places: &[Self], modules: Option<&Path>) -> Result<()> {
        let mut names: Vec<String> = places.iter().map(Self::name).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            bail!("two places of this run are called {name}: rename a file, or run them one after the other");
        }
        let own = |place: &Self| matches!(place, Self::Guest(Choice::File(_)));
        if modules.is_some() && !places.iter().any(own) {
            bail!(vm::FOREIGN_MODULES);
        }
        Ok(())
    }

    /// For people and for the names of files.
    pub fn name(&self) -> String {
        match self {
            Self::Host => "host".into(),
            Self::Guest(Choice::Line(line)) => (*line).into(),
            Self::Guest(Choice::File(file)) => file.file_name().unwrap_or_default().to_string_lossy().into(),
        }
    }
}

/// How the suite went in one place.
pub struct Column {
    pub name: String,
    pub place: Place,
    /// How long booting took.
    pub boot: Option<Duration>,
    pub seconds: Duration,
    pub report: Report,
    /// Why the run had to be given up.
    pub died: Option<String>,
    /// The exit code, if there is one.
    pub code: Option<u8>,
    /// Everything that was said.
    pub log: PathBuf,
    pub report_file: PathBuf,
}

impl Column {
    /// Everything because of which this run is not a success.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.problems_of_the_run();
        problems.extend(self.report.problems_of_tests());
        problems
    }

    /// Those that belong to no test.
    pub fn problems_of_the_run(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.died.iter().cloned().collect();
        problems.extend(self.report.problems_of_the_run());
        let tests_failed = self.report.counts().failed > 0;
        match self.code {
            Some(code) if code != 0 && !tests_failed => {
                problems.push(format!("the suite ended with code {code}, and its report names no failure"));
            }
            Some(0) if tests_failed => {
                problems.push("the suite ended with code 0 in spite of failed tests".into());
            }
            _ => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Column, Place, Report};

    #[test]
    fn the_machine_itself_is_a_place_too() {
        assert_eq!("host".parse(), Ok(Place::Host));
        assert_eq!("6.1".parse::<Place>().unwrap().name(), "6.1");
        assert_eq!("/boot/vmlinuz-6.5".parse::<Place>().unwrap().name(), "vmlinuz-6.5");
        assert!("6.2".parse::<Place>().unwrap_err().contains("5.10, 6.1"));
        assert_eq!(Place::few().len(), 2);
        let [one, other] = ["/a/vmlinuz", "/b/vmlinuz"].map(|path| path.parse::<Place>().unwrap());
        assert!(Place::check(&[one.clone(), other], None).unwrap_err().to_string().contains("vmlinuz"));
        assert!(Place::check(&Place::all(), Some("/modules".as_ref())).is_err());
        assert!(Place::check(&[one], Some("/modules".as_ref())).is_ok());
        assert!(Place::all().len() > 2);
    }

    #[test]
    fn a_code_must_agree_with_the_report() {
        let column = |code, failed: bool| Column {
            name: "6.1".into(),
            place: Place::Host,
            boot: None,
            seconds: Duration::ZERO,
            report: Report::parse(&format!(
                "{{\"event\":\"end\",\"test\":\"a\",\"outcome\":\"{}\"}}\n{{\"event\":\"done\",\"passed\":{},\"failed\":{},\"skipped\":0}}\n",
                if failed { "failed" } else { "passed" },
                u8::from(!failed),
                u8::from(failed),
            )),
            died: None,
            code,
            log: "log".into(),
            report_file: "report".into(),
        };
        assert!(column(Some(0), false).problems().is_empty());
        assert!(column(Some(101), false).problems()[0].contains("code 101"));
        assert!(column(Some(0), true).problems()[0].contains("code 0 in spite"));
        assert_eq!(column(Some(101), true).problems(), ["a: it gives no reason"]);
    }
}
