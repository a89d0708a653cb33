//! Who asked for what, and what happened: one JSON object per line, appended to a file and never changed.
//!
//! The file is opened for every line, so that it can be moved away under a running daemon, as logrotate does. What must
//! stay true: what cannot be written down is not started, and nothing keeps an experiment from being halted.

use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Event, time};

/// Who asks: the peer of the control socket, as the kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Process; `None` if it is in another pid namespace.
    pub pid: Option<i32>,
    /// Its name, as in /proc/PID/comm, if it still runs.
    pub program: Option<String>,
}

impl Peer {
    /// From the credentials of a connection.
    pub fn of(uid: u32, pid: Option<i32>) -> Self {
        let pid = pid.filter(|pid| *pid > 0);
        let comm = pid.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        Self { uid, pid, program: comm.map(|name| crate::printable::printable(name.trim_end())) }
    }
}

/// The file.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    /// One line at a time: what is written of one that has no room is taken back.
    writing: Mutex<()>,
}

impl Audit {
    /// Uses the file at `path`; makes it, and the folder that it is in.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        }
        let audit = Self { path: path.to_owned(), writing: Mutex::default() };
        audit.append(&json!({ "time": time::now(), "daemon": "started", "pid": std::process::id() }))?;
        Ok(audit)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Somebody has asked for something: `request` in words, `document` the file that came with it.
    pub fn request(&self, peer: &Peer, request: &str, document: Option<&str>) -> io::Result<()> {
        let mut line = json!({ "time": time::now(), "peer": peer, "request": request });
        if let Some(document) = document {
            line["document"] = document.into();
        }
        self.append(&line)
    }

    /// What came of it.
    pub fn answer(&self, peer: &Peer, request: &str, answer: &str) -> io::Result<()> {
        self.append(&json!({ "time": time::now(), "peer": peer, "request": request, "answer": answer }))
    }

    /// Something has happened to an experiment.
    pub fn event(&self, event: &Event) -> io::Result<()> {
        self.append(&json!({ "event": event }))
    }

    /// The end of the daemon.
    pub fn close(&self, why: &str) -> io::Result<()> {
        self.append(&json!({ "time": time::now(), "daemon": "ended", "why": why }))
    }

    /// All of it or nothing: half a line would spoil the next one.
    fn append(&self, line: &Value) -> io::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = File::options().create(true).append(true).mode(0o640).open(&self.path)?;
        let mut text = line.to_string();
        text.push('\n');
        let before = file.metadata()?.len();
        file.write_all(text.as_bytes()).inspect_err(|_| {
            if let Err(error) = file.set_len(before) {
                tracing::error!("the audit log ends with half a line: {error}");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_also_after_the_file_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        let peer = Peer::of(0, Some(1));
        audit.request(&peer, "apply x", Some("a\nb")).unwrap();
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        audit.answer(&peer, "apply x", "it runs").unwrap();
        let old = std::fs::read_to_string(folder.path().join("old")).unwrap();
        let lines: Vec<Value> = old.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(2, lines.len());
        assert_eq!("a\nb", lines[1]["document"]);
        assert_eq!(0, lines[1]["peer"]["uid"]);
        assert!(lines[1]["peer"]["program"].is_string());
        assert_eq!(1, std::fs::read_to_string(&path).unwrap().lines().count());
    }

    #[test]
    fn a_full_disk_is_said() {
        assert!(Audit::open(Path::new("/dev/full")).is_err());
    }
}
