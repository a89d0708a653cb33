//! The suite of tests on the kernel: which tests there are, what each needs, and what is written about them.
//!
//! It is one program that runs on this machine and, unchanged, in small virtual machines with other kernels. A test
//! that needs what a kernel cannot do is skipped there only if `tests/expectations.toml` foresees that; otherwise it
//! fails. Tests run one after the other on one thread, as they compare the kernel's own lists before and after; a lock
//! keeps other processes' tests away.

mod expect;
mod facts;
mod report;
mod watch;

use std::{
    panic::{self, UnwindSafe},
    process::ExitCode,
    time::{Duration, Instant},
};

pub use chaos_daemon::bpf::Feature;
pub use expect::{Level, Need};
pub use facts::{Answer, Facts, facts};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
pub use report::emit;
use serde_json::json;
pub use watch::note;

use crate::{serial, slow};

/// One test: a function that panics if something does not hold.
pub struct Test {
    /// The path of the function, with the crate's name.
    pub path: &'static str,
    /// What it cannot do without.
    pub needs: &'static [Need],
    /// The function.
    pub run: fn(),
}

impl Test {
    /// Its name: the function and the modules it is in.
    pub fn name(&self) -> &'static str {
        self.path.split_once("::").map_or(self.path, |(_, name)| name)
    }
}

/// The table of a module's tests, with what each group needs: names of [`Feature`], which may be in whichever way and
/// quality this kernel has it; `full` before one where only the best will do; `guest` for tests that change the
/// machine; `services` for those with real containers; `once` for what is the same on every kernel.
#[macro_export]
macro_rules! tests {
    ($(needs $needs:tt: $($test:ident),+;)+) => {
        $crate::tests! { TESTS: $(needs $needs: $($test),+;)+ }
    };
    ($table:ident: $(needs $needs:tt: $($test:ident),+;)+) => {
        /// Tests of this module.
        pub const $table: &[$crate::suite::Test] = &[$($($crate::suite::Test {
            path: concat!(module_path!(), "::", stringify!($test)),
            needs: $crate::needs!($needs),
            run: $test,
        }),+),+];
    };
}

/// A list of needs, as it stands in [`tests!`].
#[macro_export]
macro_rules! needs {
    (($($($word:ident)+),*)) => { &[$($crate::need!($($word)+)),*] };
}

/// One need.
#[macro_export]
macro_rules! need {
    (guest) => {
        $crate::suite::Need::Guest
    };
    (services) => {
        $crate::suite::Need::Services
    };
    (once) => {
        $crate::suite::Need::Once
    };
    (full $feature:ident) => {
        $crate::suite::Need::Full($crate::suite::Feature::$feature)
    };
    ($feature:ident) => {
        $crate::suite::Need::Any($crate::suite::Feature::$feature)
    };
}

/// An errno that `connect` faults can give here, for tests to which it does not matter which: EIO, which nothing else
/// gives, where the kernel lets programs choose.
pub fn an_errno() -> (&'static str, i32) {
    if facts().level(Feature::CgroupConnect) == Level::Yes {
        ("EIO", libc::EIO)
    } else {
        ("EPERM", libc::EPERM)
    }
}

/// How long one test may take on a machine that is not slow.
const LIMIT: Duration = Duration::from_mins(1);

/// How long the one test goes on that is as long as one likes.
pub fn churn() -> Duration {
    const BRIEF: u64 = 15;
    let seconds = std::env::var("KCHAOS_CHURN").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(BRIEF))
}

/// Runs the tests that the command line asks for. With `KCHAOS_BROKEN`, those of `broken` instead of all others: the
/// ones that must fail, by which the runner can be tested; and of them the ones in `by_name` only when asked for
/// exactly.
pub fn main(groups: &[&'static [Test]], broken: &'static [Test], by_name: &'static [Test]) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    watch::install(arguments.nocapture);
    let chosen: Vec<&'static Test> = if std::env::var_os("KCHAOS_BROKEN").is_some() {
        let named = |test: &&Test| arguments.exact && arguments.filter.as_deref() == Some(test.name());
        broken.iter().chain(by_name.iter().filter(named)).collect()
    } else {
        groups.iter().copied().flatten().collect()
    };
    if !arguments.list
        && let Err(reason) = begin()
    {
        eprintln!("error: {reason}");
        return ExitCode::from(101);
    }
    let trials = chosen.into_iter().map(|test| Trial::ignorable_test(test.name(), || perform(test)));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if !arguments.list {
        report::slowest();
        let (passed, failed, skipped) =
            (conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored);
        emit(&json!({ "event": "done", "passed": passed, "failed": failed, "skipped": skipped }));
    }
    conclusion.exit_code()
}

/// Asks the kernel, once.
fn begin() -> Result<(), String> {
    report::open()?;
    let (release, line) = facts::kernel();
    emit(&json!({ "event": "kernel", "release": release, "line": line }));
    let _watched = watch::Watched::start("kchaos check", LIMIT * slow());
    let facts = facts::ask()?;
    if facts.expected().is_none() {
        eprintln!("Linux {line} is not in tests/expectations.toml: whatever it cannot do is skipped");
    }
    Ok(())
}

/// One test, from its first word in the report to its last.
fn perform(test: &'static Test) -> Result<Completion, Failed> {
    let _serial = serial();
    let name = test.name();
    emit(&json!({ "event": "start", "test": name }));
    let begun = Instant::now();
    let end = |outcome: &str, reason: Option<&str>| {
        let seconds = begun.elapsed().as_secs_f64();
        report::took(name, seconds);
        let seconds = (seconds * 1000.0).round() / 1000.0;
        let mut end = json!({ "event": "end", "test": name, "outcome": outcome, "seconds": seconds });
        if let Some(reason) = reason {
            end["reason"] = reason.into();
        }
        end
    };
    if let Some(missing) = expect::missing(test.needs, facts()) {
        if let Some(failure) = missing.failure() {
            emit(&end("failed", Some(&failure)));
            return Err(failure.into());
        }
        let mut end = end("skipped", Some(&missing.reason));
        end["feature"] = missing.feature.into();
        end["foreseen"] = missing.foreseen.unwrap_or(false).into();
        emit(&end);
        return Ok(Completion::ignored_with(missing.reason));
    }
    match caught(name, test.run) {
        Ok(()) => {
            emit(&end("passed", None));
            Ok(Completion::Completed)
        }
        Err(failure) => {
            emit(&end("failed", Some(&failure.reason)));
            Err(failure.in_full().into())
        }
    }
}

/// Runs it under the watchdog, and says what it died of.
fn caught(name: &'static str, run: impl FnOnce() + UnwindSafe) -> Result<(), watch::Failure> {
    let watched = watch::Watched::start(name, LIMIT * slow() + churn());
    let result = panic::catch_unwind(run);
    let failure = watched.end();
    result.map_err(|_payload| failure)
}
