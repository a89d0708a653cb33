//! The suite of tests on the kernel: which tests there are, what each needs, and what is written about them.
//!
//! It is one program that runs on this machine and, unchanged, in small virtual machines with other kernels. A test
//! that needs what a kernel cannot do is skipped there only if `tests/expectations.toml` foresees that; otherwise it
//! fails. Tests run one after the other, as they compare the kernel's own lists before and after; a lock keeps other
//! processes' tests away. Those that mostly wait and compare nothing run beside each other at the end ([`together`]).

mod expect;
mod facts;
mod report;
mod share;
mod together;
mod watch;

use std::{
    panic::{self, UnwindSafe},
    process::ExitCode,
    time::{Duration, Instant},
};

pub use chaos_daemon::bpf::{Feature, call::Call};
pub use expect::{Level, Need};
pub use facts::{Answer, Facts, facts};
use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};
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
/// machine; `calls` where calls can be made to fail in the kernel's own functions; `services` for those with real
/// containers; `servers` for those with a Postgres or an nginx in a guest; `controllers` where cgroups can be limited;
/// `once` for what is the same on every kernel; `spread` for what this machine and one of the guests is enough for (or this machine alone, `suite::share`); `together` for
/// what may run beside others of its kind.
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
    (servers) => {
        $crate::suite::Need::Servers
    };
    (calls) => {
        $crate::suite::Need::Any($crate::suite::Feature::Call($crate::suite::Call::Read))
    };
    (controllers) => {
        $crate::suite::Need::Controllers
    };
    (once) => {
        $crate::suite::Need::Once
    };
    (spread) => {
        $crate::suite::Need::Spread
    };
    (together) => {
        $crate::suite::Need::Together
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
const LIMIT: Duration = Duration::from_secs(90);

/// The same as the run has it: less (`KCHAOS_LIMIT`, in seconds) where it is known that one will hang.
fn limit() -> Duration {
    let seconds = std::env::var("KCHAOS_LIMIT").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(LIMIT * slow() + churn(), Duration::from_secs)
}

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
    let arguments = Arguments::from_args();
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
    match together::only(&chosen) {
        Some(test) => together::run(test),
        None => run(arguments, chosen),
    }
}

/// Runs them: first those that need the kernel for themselves, then the others. What is to be seen at once, and what
/// runs in a guest, which has no time to spare, runs one after the other.
fn run(mut arguments: Arguments, chosen: Vec<&'static Test>) -> ExitCode {
    let one_by_one = arguments.list || arguments.nocapture || facts().guest;
    let (beside, alone): (Vec<_>, Vec<_>) =
        chosen.into_iter().partition(|test| !one_by_one && test.is_together());
    arguments.test_threads = Some(1);
    let here = |test: &'static Test| {
        let _serial = serial();
        perform(test, || caught(test.name(), limit(), test.run))
    };
    let alone: Vec<_> =
        alone.into_iter().map(|test| Trial::ignorable_test(test.name(), move || here(test))).collect();
    let apart = |test| perform(test, || together::spawn(test));
    let beside: Vec<_> =
        beside.into_iter().map(|test| Trial::ignorable_test(test.name(), move || apart(test))).collect();
    let [some_alone, some_beside] =
        [&alone, &beside].map(|trials| trials.iter().any(|trial| !arguments.is_filtered_out(trial)));
    let mut conclusions = Vec::new();
    if some_alone || !some_beside {
        conclusions.push(libtest_mimic::run(&arguments, alone));
    }
    if some_beside {
        let _serial = serial();
        arguments.test_threads = Some(together::AT_ONCE);
        conclusions.push(libtest_mimic::run(&arguments, beside));
    }
    if !arguments.list {
        report::slowest();
        let sum = |count: fn(&Conclusion) -> u64| conclusions.iter().map(count).sum::<u64>();
        let (passed, failed, skipped) =
            (sum(|c| c.num_passed), sum(|c| c.num_failed), sum(|c| c.num_ignored));
        emit(&json!({ "event": "done", "passed": passed, "failed": failed, "skipped": skipped }));
    }
    conclusions.iter().find(|c| c.has_failed()).map_or(ExitCode::SUCCESS, Conclusion::exit_code)
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
fn perform(
    test: &'static Test,
    run: impl FnOnce() -> Result<(), watch::Failure>,
) -> Result<Completion, Failed> {
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
    if let Some(missing) = expect::missing(test, facts()) {
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
    match run() {
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
fn caught(
    name: &'static str,
    limit: Duration,
    run: impl FnOnce() + UnwindSafe,
) -> Result<(), watch::Failure> {
    let watched = watch::Watched::start(name, limit);
    let result = panic::catch_unwind(run);
    let failure = watched.end();
    result.map_err(|_payload| failure)
}
