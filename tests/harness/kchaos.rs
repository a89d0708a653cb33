//! The binary under test.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{Cgroup, NetNs, assert_holds, ends_with_us, kernel::Held, wait_for};

/// The `kchaos` under test: `KCHAOS_BIN`, or the one that `cargo xtask build` put into the target folder this program is
/// in, or the one that is installed.
pub fn kchaos() -> Command {
    let mut command = Command::new(binary());
    command.env("NO_COLOR", "1").env_remove("RUST_LOG").env("KCHAOS_RECORDS", records());
    command
}

/// Where records of tests go that name no other place.
fn records() -> PathBuf {
    env::temp_dir().join("kchaos-tests-records")
}

fn binary() -> PathBuf {
    if let Some(path) = env::var_os("KCHAOS_BIN") {
        return path.into();
    }
    let own = env::current_exe().unwrap();
    // Cargo marks the top of its folder with this file; further down lie builds that nobody may have renewed.
    match own.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()) {
        Some(target) => {
            let path = target.join("kchaos");
            assert!(path.is_file(), "{} is not there: run cargo xtask build", path.display());
            path
        }
        None => "kchaos".into(),
    }
}

/// An experiment that runs in the foreground of another process.
pub struct Kchaos {
    child: Option<Child>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard error.
    pub stderr: String,
    /// What it wrote to standard output.
    pub stdout: String,
}

impl Ended {
    /// From the output of a finished process.
    pub fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The result as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// One number of one fault: `matched`, `injected`, ...
    pub fn count(&self, fault: usize, field: &str) -> u64 {
        let json = self.json();
        json["faults"][fault][field].as_u64().unwrap_or_else(|| panic!("no {field} in {json}"))
    }

    /// Expects that every match of one fault was counted once.
    pub fn assert_books(&self, fault: usize) {
        let json = self.json();
        let skipped: u64 =
            json["faults"][fault]["skipped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(self.count(fault, "matched"), self.count(fault, "injected") + skipped, "{json}");
    }

    /// Expects that one fault was drawn as often as was asked for, by the interval that is reported.
    pub fn assert_as_asked(&self, fault: usize) {
        let report = &self.json()["faults"][fault];
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {report}"));
        let interval = (number(&report["interval"][0]), number(&report["interval"][1]));
        let asked = number(&report["asked"]);
        assert_holds(&format!("fault {fault}"), asked, number(&report["share"]), interval);
        let holds = (interval.0..=interval.1).contains(&asked);
        assert_eq!(holds, report["as_asked"] == true, "{report}");
    }

    /// How many of the matches of one fault were skipped for a reason.
    pub fn skipped(&self, fault: usize, reason: &str) -> u64 {
        let json = self.json();
        json["faults"][fault]["skipped"][reason].as_u64().unwrap_or_else(|| panic!("no {reason} in {json}"))
    }
}

impl Kchaos {
    /// Starts `kchaos WORDS --output json` in a network namespace and waits until it injects.
    pub fn start(ns: &NetNs, words: &[&str]) -> Self {
        Self::start_with(words, |command| ns.place(command))
    }

    /// Starts `kchaos inject KIND` on a cgroup, for longer than any test takes, and waits until it injects.
    pub fn inject(ns: &NetNs, kind: &str, cgroup: &Cgroup, flags: &[&str]) -> Self {
        let words = [&["inject", kind, "--for", "60s", "--cgroup", cgroup.name()][..], flags].concat();
        Self::start(ns, &words)
    }

    /// Starts an experiment on a cgroup that is written as a file, `faults` being the fields of each fault, and waits
    /// until it injects.
    pub fn run(ns: &NetNs, cgroup: &Cgroup, faults: &[String]) -> Self {
        Self::run_for("5m", ns, cgroup, faults)
    }

    /// The same with a time box of its own.
    pub fn run_for(duration: &str, ns: &NetNs, cgroup: &Cgroup, faults: &[String]) -> Self {
        let target = format!("cgroup = \"{}\"", cgroup.name());
        Self::run_on(&target, duration, faults, |command| ns.place(command))
    }

    /// The same with the target as it stands in the file, and a last word on how the process starts.
    pub fn run_on(
        target: &str,
        duration: &str,
        faults: &[String],
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut text = format!("duration = \"{duration}\"\nseed = 2026\n[target]\n{target}\n");
        for fields in faults {
            text += &format!("[[fault]]\n{fields}\n");
        }
        fs::write(file.path(), text).unwrap();
        Self::start_with(&["run", file.path().to_str().unwrap()], adjust)
    }

    /// As [`Self::start`], with a last word on how the process starts.
    pub fn start_with(words: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        let mut this = Self::spawn(words, adjust);
        wait_for("kchaos starts to inject", Duration::from_secs(20), || {
            assert!(
                this.child.as_mut().unwrap().try_wait().unwrap().is_none(),
                "kchaos {words:?} ended at once: {:?}",
                Ended::new(this.take().wait_with_output().unwrap())
            );
            this.held().armed()
        });
        this
    }

    /// Starts it and does not wait.
    pub fn spawn(words: &[&str], adjust: impl FnOnce(&mut Command)) -> Self {
        let mut command = kchaos();
        // Before "--", where there is a command of the target.
        let at = words.iter().position(|w| *w == "--").unwrap_or(words.len());
        command.args(&words[..at]).args(["--output", "json"]).args(&words[at..]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ends_with_us(&mut command);
        adjust(&mut command);
        // Whoever runs the tests in the background may have it ignored, and children inherit that.
        // SAFETY: signal is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        Self { child: Some(command.spawn().unwrap()) }
    }

    fn take(&mut self) -> Child {
        self.child.take().unwrap()
    }

    /// The programs, maps and links it holds now.
    pub fn held(&self) -> Held {
        Held::by(self.pid())
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        Ended::new(self.take().wait_with_output().unwrap())
    }

    /// Ends it as Ctrl-C does, and expects that to work.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGINT);
        let ended = self.wait();
        assert_eq!(Some(3), ended.code, "{ended:?}");
        ended
    }
}

/// Runs `kchaos WORDS` to its end.
pub fn run(words: &[&str]) -> Ended {
    Ended::new(kchaos().args(words).stdin(Stdio::null()).output().unwrap())
}

impl Drop for Kchaos {
    fn drop(&mut self) {
        // A test that failed half-way must not leave its experiment to the next one.
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}
