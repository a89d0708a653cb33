//! A process that makes system calls when it is told to, in a cgroup, and says how each ended.

use std::{
    collections::BTreeMap, fs::File, os::unix::fs::FileExt as _, path::Path, process::Child, time::Duration,
};

use tempfile::{NamedTempFile, TempDir};

use crate::{Cgroup, NetNs, slow, traffic::helper, wait_for};

/// The calls by name; `kct` knows them by their place here.
pub const CALLS: &[&str] = &[
    "read",
    "write",
    "open",
    "connect",
    "accept",
    "send",
    "recv",
    "bind",
    "listen",
    "socket",
    "exec",
    "fork",
    "mmap",
    "stat",
    "unlink",
    "rename",
    "mkdir",
    "truncate",
    "fsync",
    "close",
    "poll",
    "read-pipe",
    "read-zero",
    "read-socket",
    "sendfile",
    "copy_file_range",
    "splice",
    "getdents",
    "write-socket",
    "open-dir",
    "send-udp",
    "script",
    "listen-tcp",
    "send-udp6",
];

/// How often calls ended how: by errno, 0 for no error.
pub type Ends = BTreeMap<i32, u64>;

/// The process; killed when dropped.
pub struct Caller {
    child: Child,
    board: File,
    round: u64,
    _file: NamedTempFile,
    /// The folder that its calls are about.
    pub place: TempDir,
}

const WORDS: usize = 4 + 134;

impl Caller {
    /// Starts it. Everything is ready when this is back.
    pub fn start(ns: &NetNs, cgroup: &Cgroup) -> Self {
        Self::start_in(ns, cgroup, &std::env::temp_dir())
    }

    /// The same with its folder somewhere.
    pub fn start_in(ns: &NetNs, cgroup: &Cgroup, folder: &Path) -> Self {
        let file = NamedTempFile::new().unwrap();
        let board = file.reopen().unwrap();
        board.set_len((WORDS * 8) as u64).unwrap();
        let place = TempDir::new_in(folder).unwrap();
        let words = ["syscalls", file.path().to_str().unwrap(), place.path().to_str().unwrap()];
        let child = helper(ns, cgroup, &words).spawn().unwrap();
        let this = Self { child, board, round: 0, _file: file, place };
        wait_for("the caller is ready", Duration::from_secs(10), || this.word(1) == u64::MAX);
        this
    }

    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.board.read_exact_at(&mut bytes, at * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn put(&self, at: u64, word: u64) {
        self.board.write_all_at(&word.to_ne_bytes(), at * 8).unwrap();
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes so many calls, and waits for their ends.
    pub fn make(&mut self, call: &str, count: u64) -> Ends {
        self.begin(call, count);
        let round = self.round;
        let patience = Duration::from_secs(30) * slow();
        wait_for("the calls are made", patience, || self.word(1) == round);
        self.ends()
    }

    /// Makes so many calls, and does not wait.
    pub fn begin(&mut self, call: &str, count: u64) {
        let which = CALLS.iter().position(|name| *name == call).unwrap_or_else(|| panic!("{call}"));
        for errno in 0..134 {
            self.put(4 + errno, 0);
        }
        self.put(2, count);
        self.put(3, which as u64);
        self.round += 1;
        self.put(0, self.round);
    }

    /// How calls of this round have ended so far.
    pub fn ends(&self) -> Ends {
        (0..134).zip(4..).map(|(errno, at)| (errno, self.word(at))).filter(|(_, count)| *count > 0).collect()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
