//! A real client: a program of some package, in a namespace and a cgroup, with what it says kept in a file.

use std::{
    env, fs,
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::NamedTempFile;

use crate::{Cgroup, NetNs, ends_with_us, slow};

/// One that is killed when dropped.
pub struct Client {
    child: Child,
    input: ChildStdin,
    words: String,
    file: NamedTempFile,
}

impl Client {
    /// Starts a program.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, program: &str, words: &[&str]) -> Self {
        let file = NamedTempFile::new().unwrap();
        let output = || file.as_file().try_clone().unwrap();
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::piped()).stdout(output()).stderr(output());
        // A proxy, a host or a language that somebody has set is not meant for these.
        command.env_clear().env("LC_ALL", "C").envs(env::var_os("PATH").map(|path| ("PATH", path)));
        ends_with_us(&mut command);
        ns.place(&mut command);
        cgroup.place(&mut command);
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{program}, of what `cargo xtask setup` installs: {e}"));
        let input = child.stdin.take().unwrap();
        Self { child, input, words: format!("{program} {}", words.join(" ")), file }
    }

    /// Gives it a line to read.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// All that it has said so far, in the order in which it did.
    pub fn said(&self) -> String {
        fs::read_to_string(self.file.path()).unwrap()
    }

    /// Waits until it says something.
    pub fn says(&mut self, what: &str, limit: Duration) {
        self.wait_until(&format!("says {what:?}"), limit, |client| client.said().contains(what));
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end: its exit code, and all that it has said.
    pub fn ended(&mut self, limit: Duration) -> (Option<i32>, String) {
        self.wait_until("ends", limit, Self::has_ended);
        (self.child.wait().unwrap().code(), self.said())
    }

    fn wait_until(&mut self, what: &str, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) {
        let limit = limit * slow();
        let begun = Instant::now();
        while !holds(self) {
            let words = &self.words;
            assert!(begun.elapsed() < limit, "{words} {what}: not within {limit:?}: {}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
