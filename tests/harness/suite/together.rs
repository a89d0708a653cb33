//! Tests that run beside others of their kind (`together`), as they mostly wait and look at nothing but what they have
//! made themselves. Each has a process of its own: a panic, a time limit and what was noted belong to a process.

use std::{
    env,
    process::{Command, ExitCode, Stdio},
};

use super::{
    Need, Test, caught,
    facts::{CHECKED, facts},
    limit,
    watch::Failure,
};
use crate::ends_with_us;

/// How many at a time. They wait more than they compute, so there may be more than there are CPUs.
pub const AT_ONCE: usize = 3;

/// They share the machine: each may take twice as long as it might alone.
const LONGER: u32 = 2;

/// Names the one test that a process is for.
const ONLY: &str = "KCHAOS_ONLY";

impl Test {
    /// Whether it may run beside others.
    pub fn is_together(&self) -> bool {
        self.needs.contains(&Need::Together)
    }
}

/// The test that this process is for, if it is for one.
pub fn only(tests: &[&'static Test]) -> Option<&'static Test> {
    let name = env::var(ONLY).ok()?;
    tests.iter().copied().find(|test| test.name() == name)
}

/// Runs it in this process, and says why it failed, if it did.
pub fn run(test: &'static Test) -> ExitCode {
    match caught(test.name(), LONGER * limit(), test.run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{}", failure.in_full());
            ExitCode::from(101)
        }
    }
}

/// Runs it in a process of its own.
pub fn spawn(test: &Test) -> Result<(), Failure> {
    let failed = |why: String| Failure::of_a_process(&why);
    let mut command = Command::new(env::current_exe().map_err(|e| failed(format!("this program: {e}")))?);
    command
        .env(ONLY, test.name())
        .env(CHECKED, &facts().said)
        .env_remove("KCHAOS_REPORT")
        .stdin(Stdio::null());
    ends_with_us(&mut command);
    let output = command.output().map_err(|e| failed(format!("it does not start: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
    Err(failed(if said.is_empty() { format!("it ended without a word: {}", output.status) } else { said }))
}
