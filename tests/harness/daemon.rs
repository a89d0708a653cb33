//! A node daemon with folders of its own, and the command line that talks to it.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Cgroup, NetNs, ends_with_us,
    kchaos::{Ended, kchaos},
    kernel::Held,
    slow, wait_for,
};

/// A daemon; killed when dropped.
pub struct Daemon {
    child: Option<Child>,
    folder: TempDir,
}

impl Daemon {
    /// Starts one in a network namespace, with these settings besides its paths, and waits until it answers. Metrics are
    /// off unless the settings say where.
    pub fn start(ns: &NetNs, settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), ns, settings)
    }

    /// The same in a folder where another one was.
    pub fn start_in(folder: TempDir, ns: &NetNs, settings: &str) -> Self {
        Self::start_with(folder, settings, |command| ns.place(command))
    }

    /// The same with a last word on how the process starts.
    pub fn start_with(folder: TempDir, settings: &str, adjust: impl FnOnce(&mut Command)) -> Self {
        let metrics = if settings.contains("metrics") { "" } else { "metrics = \"off\"\n" };
        let at = |name: &str| folder.path().join(name).display().to_string();
        let audit_log = if settings.contains("audit_log") {
            String::new()
        } else {
            format!("audit_log = \"{}\"\n", at("audit.jsonl"))
        };
        let text = format!(
            "socket = \"{}\"\nrecords = \"{}\"\n{audit_log}{metrics}{settings}",
            at("kchaos.sock"),
            at("records")
        );
        fs::write(folder.path().join("daemon.toml"), text).unwrap();
        let mut command = kchaos();
        command.args(["daemon", "--config", &at("daemon.toml")]).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(folder.path().join("log")).unwrap());
        ends_with_us(&mut command);
        adjust(&mut command);
        let this = Self { child: Some(command.spawn().unwrap()), folder };
        wait_for("the daemon answers", Duration::from_secs(10), || {
            UnixStream::connect(this.socket()).is_ok() && this.run(&["list"]).code == Some(0)
        });
        this
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("kchaos.sock")
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The lines of its audit log.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs `kchaos WORDS` against it.
    pub fn run(&self, words: &[&str]) -> Ended {
        let mut command = kchaos();
        command.args(words).env("KCHAOS_SOCKET", self.socket()).stdin(Stdio::null());
        Ended::new(command.output().unwrap())
    }

    /// The same, as JSON; it must succeed.
    pub fn ask(&self, words: &[&str]) -> Value {
        let ended = self.run(&[words, &["--output", "json"]].concat());
        assert_eq!(Some(0), ended.code, "{words:?}: {ended:?}\n{}", self.log());
        ended.json()
    }

    /// Hands a file over.
    pub fn apply(&self, text: &str) -> Ended {
        self.apply_as(text, &[])
    }

    /// The same with more words on the command line.
    pub fn apply_as(&self, text: &str, words: &[&str]) -> Ended {
        let ended = self.apply_unchecked_as(text, words);
        assert_ne!(Some(70), ended.code, "{ended:?}\n{}", self.log());
        ended
    }

    /// Hands a file over to a daemon that may be killed meanwhile.
    pub fn apply_unchecked(&self, text: &str) -> Ended {
        self.apply_unchecked_as(text, &[])
    }

    fn apply_unchecked_as(&self, text: &str, words: &[&str]) -> Ended {
        let file = tempfile::NamedTempFile::with_suffix_in(".toml", self.folder.path()).unwrap();
        fs::write(file.path(), text).unwrap();
        self.run(&[&["apply", file.path().to_str().unwrap(), "--output", "json"], words].concat())
    }

    /// Hands one over that must be taken.
    pub fn applied(&self, text: &str) -> Value {
        let ended = self.apply(text);
        assert_eq!(Some(0), ended.code, "{ended:?}\n{}", self.log());
        ended.json()
    }

    /// One experiment's status.
    pub fn status(&self, name: &str) -> Value {
        self.ask(&["status", name])
    }

    /// Waits until an experiment has ended, and answers with its status.
    pub fn ended(&self, name: &str, limit: Duration) -> Value {
        wait_for("it ends", limit * slow(), || {
            let is_over = self.status(name)["phase"] == "ended";
            // Each look is a process: looks without a pause would take a CPU from what is looked at.
            if !is_over {
                thread::sleep(Duration::from_millis(20));
            }
            is_over
        });
        self.status(name)
    }

    /// Sends bytes to the control socket as they are, and reads what comes back until the connection ends.
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // It may have closed the connection before all was said.
        let _cut_short = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The programs, maps and links it holds now.
    pub fn held(&self) -> Held {
        Held::by(self.pid())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// How many descriptors it has.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// How much of its memory is resident, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How long it has been on a processor.
    pub fn processor_time(&self) -> Duration {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        clock_gettime(clock_getcpuclockid(pid).unwrap()).unwrap().into()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Waits for its end: its exit code, and its folder, which holds its log.
    pub fn wait(mut self) -> (Option<i32>, TempDir) {
        let code = self.child.take().unwrap().wait().unwrap().code();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (code, folder)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

/// An experiment that makes the connects of a cgroup to one port fail.
pub fn connect_fault(name: &str, cgroup: &Cgroup, duration: &str, port: u16) -> String {
    format!(
        "name = \"{name}\"\nduration = \"{duration}\"\n[target]\ncgroup = \"{}\"\n[[fault]]\nkind = \"connect\"\n\
         errno = \"EPERM\"\npeer = \":{port}\"\n",
        cgroup.name()
    )
}
