//! What the suite reports: one JSON object in each line, written as things happen.
//!
//! A report is believed only as far as it goes. A test that started and did not end, a report without its last
//! line, a line that cannot be read and a sum that is wrong are failures, whatever else it says.

use serde::Deserialize;

/// A line.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Kernel {
        release: String,
        line: String,
    },
    Start {
        test: String,
    },
    End {
        test: String,
        #[serde(flatten)]
        end: End,
    },
    Feature(Feature),
    Cost(Cost),
    Done(Counts),
    /// Of a suite that is newer than this runner.
    #[serde(other)]
    Unknown,
}

/// How a test ended.
#[derive(Clone, Debug, Deserialize)]
pub struct End {
    pub outcome: Outcome,
    #[serde(default)]
    pub seconds: f64,
    pub reason: Option<String>,
    /// What a skipped test needed.
    pub feature: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// What a kernel can do of what `kchaos check` asks.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Feature {
    #[serde(rename = "feature")]
    pub name: String,
    pub serves: String,
    pub answer: String,
    pub way: Option<String>,
    pub reason: Option<String>,
}

/// What a program costs the verifier.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Cost {
    pub program: String,
    pub verified: u32,
    pub jited: u32,
    pub compiler: String,
}

/// The last line.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

/// A test, and its end if it came.
#[derive(Clone, Debug)]
pub struct Test {
    pub name: String,
    pub end: Option<End>,
}

/// One run of the suite.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub release: Option<String>,
    /// The line of kernels, such as 6.1.
    pub line: Option<String>,
    pub tests: Vec<Test>,
    pub features: Vec<Feature>,
    pub costs: Vec<Cost>,
    pub done: Option<Counts>,
    /// Lines that cannot be read.
    unreadable: Vec<String>,
}

impl Report {
    /// Reads a report that holds one run.
    pub fn parse(text: &str) -> Self {
        let mut runs = Self::parse_runs(text);
        if runs.is_empty() { Self::default() } else { runs.remove(0) }
    }

    /// Reads a report that several runs have been appended to; each begins with the kernel.
    pub fn parse_runs(text: &str) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        // The last line is cut short where a kernel died in the middle of it.
        let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        for line in whole.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let event = serde_json::from_str(line);
            if runs.is_empty() || matches!(event, Ok(Event::Kernel { .. })) {
                runs.push(Self::default());
            }
            if let Some(run) = runs.last_mut() {
                match event {
                    Ok(event) => run.take(event),
                    Err(error) => run.unreadable.push(format!("{error}: {line}")),
                }
            }
        }
        runs
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Kernel { release, line } => {
                self.release = Some(release);
                self.line = Some(line);
            }
            Event::Start { test } => self.tests.push(Test { name: test, end: None }),
            Event::End { test, end } => {
                let started = self.tests.iter_mut().find(|known| known.name == test && known.end.is_none());
                match started {
                    Some(known) => known.end = Some(end),
                    // A test that is skipped may not have been started.
                    None => self.tests.push(Test { name: test, end: Some(end) }),
                }
            }
            Event::Feature(feature) => self.features.push(feature),
            Event::Cost(cost) => self.costs.push(cost),
            Event::Done(counts) => self.done = Some(counts),
            Event::Unknown => {}
        }
    }

    /// How many tests ended in each way, by the report's own lines.
    pub fn counts(&self) -> Counts {
        let count = |outcome| self.ended().filter(|(_, end)| end.outcome == outcome).count();
        Counts {
            passed: count(Outcome::Passed),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
        }
    }

    /// The tests that ended, with how.
    pub fn ended(&self) -> impl Iterator<Item = (&str, &End)> {
        self.tests.iter().filter_map(|test| Some((test.name.as_str(), test.end.as_ref()?)))
    }

    /// The tests that failed, with their reasons.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ended()
            .filter(|(_, end)| end.outcome == Outcome::Failed)
            .map(|(name, end)| (name, end.reason.as_deref().unwrap_or("it gives no reason")))
    }

    /// The tests that started and never ended.
    pub fn unended(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().filter(|test| test.end.is_none()).map(|test| test.name.as_str())
    }

    /// The tests because of which this run is not a success, with why.
    pub fn problems_of_tests(&self) -> Vec<String> {
        let failed = self.failed().map(|(name, reason)| format!("{name}: {reason}"));
        failed.chain(self.unended().map(|name| format!("{name}: it started and never ended"))).collect()
    }

    /// What else is wrong with it.
    pub fn problems_of_the_run(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.unreadable.iter().map(|line| format!("a line cannot be read: {line}")).collect();
        match (self.done, self.counts()) {
            (None, _) => problems.push("the suite did not come to its end".into()),
            (Some(done), counts) if done != counts => {
                problems.push(format!("the suite counts {done:?}, and its report {counts:?}"));
            }
            (Some(done), _) if done.passed + done.failed + done.skipped == 0 => {
                problems.push("not a single test ran".into());
            }
            _ => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Outcome, Report};

    fn problems(report: &Report) -> Vec<String> {
        report.problems_of_tests().into_iter().chain(report.problems_of_the_run()).collect()
    }

    const GOOD: &str = r#"{"event":"kernel","release":"6.1.0-56-cloud-amd64","line":"6.1"}
{"event":"start","test":"connect::any_errno"}
{"event":"end","test":"connect::any_errno","outcome":"passed","seconds":1.25}
{"event":"feature","feature":"tc_egress","serves":"drop, direction egress","answer":"no","way":null,"reason":"no tcx"}
{"event":"cost","program":"kchaos_egress","verified":44648,"jited":4377,"compiler":"1.95"}
{"event":"end","test":"drop::tcp","outcome":"skipped","seconds":0,"reason":"no tcx","feature":"tc_egress","foreseen":true}
{"event":"weather","sky":"blue"}
{"event":"done","passed":1,"failed":0,"skipped":1}
"#;

    #[test]
    fn a_whole_report_is_a_success() {
        let report = Report::parse(GOOD);
        assert_eq!(problems(&report), [""; 0]);
        assert_eq!(report.release.as_deref(), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(report.counts(), Counts { passed: 1, failed: 0, skipped: 1 });
        assert_eq!(report.features[0].reason.as_deref(), Some("no tcx"));
        assert_eq!(report.costs[0].verified, 44648);
        let (name, end) = report.ended().nth(1).unwrap();
        assert_eq!(
            (name, end.outcome, end.feature.as_deref()),
            ("drop::tcp", Outcome::Skipped, Some("tc_egress"))
        );
    }

    #[test]
    fn wherever_a_report_is_cut_it_is_a_failure() {
        let whole = GOOD.len();
        for end in 0..whole {
            assert!(!problems(&Report::parse(&GOOD[..end])).is_empty(), "cut at {end}");
        }
    }

    #[test]
    fn a_test_that_never_ended_is_named() {
        let text = GOOD.replace(r#"{"event":"end","test":"connect"#, r#"{"event":"end","test":"disconnect"#);
        let problems = problems(&Report::parse(&text));
        assert!(
            problems.contains(&"connect::any_errno: it started and never ended".to_owned()),
            "{problems:?}"
        );
    }

    #[test]
    fn what_contradicts_itself_is_a_failure() {
        for (from, to, said) in [
            (r#""passed":1"#, r#""passed":2"#, "the suite counts"),
            (r#"{"event":"start""#, "\u{0}garbage", "cannot be read"),
            (
                r#""outcome":"passed""#,
                r#""outcome":"failed","reason":"left: 1 (a.rs:7)""#,
                "connect::any_errno: left: 1",
            ),
        ] {
            let problems = problems(&Report::parse(&GOOD.replacen(from, to, 1)));
            assert!(problems.iter().any(|problem| problem.contains(said)), "{said}: {problems:?}");
        }
    }

    #[test]
    fn a_run_without_a_test_is_a_failure() {
        let text = "{\"event\":\"kernel\",\"release\":\"6\",\"line\":\"6\"}\n{\"event\":\"done\",\"passed\":0,\"failed\":0,\"skipped\":0}\n";
        assert_eq!(problems(&Report::parse(text)), ["not a single test ran"]);
        assert_eq!(problems(&Report::parse("")), ["the suite did not come to its end"]);
    }

    #[test]
    fn runs_that_follow_each_other_are_parted() {
        let runs = Report::parse_runs(&format!("{GOOD}{GOOD}{{\"event\":\"kernel\",\"rel"));
        assert_eq!(runs.len(), 2);
        assert!(runs.iter().all(|run| problems(run).is_empty()));
    }
}
