//! The files of one cgroup, read and written through its folder, which is known by its inode: a service that is restarted has
//! another cgroup under the same name, and that one is not ours.
//!
//! What must stay true: a value is put back only where ours still is.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};
use serde::{Deserialize, Serialize};

/// What a limit is called that is none, in every file that holds one.
pub const NO_LIMIT: &str = "max";

/// The folder of a cgroup, held open.
#[derive(Debug)]
pub struct Folder {
    dir: File,
}

impl Folder {
    /// Opens it; another one under the same name is none ([`io::ErrorKind::NotFound`]).
    pub fn open(path: &Path, id: u64) -> io::Result<Self> {
        let dir = File::open(path)?;
        if dir.metadata()?.ino() == id { Ok(Self { dir }) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// What stands in a file, without the end of its last line.
    pub fn read(&self, file: &str) -> io::Result<String> {
        let fd = openat(&self.dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text)?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// Writes it, in one write. Newer kernels (6.16) do not wait for memory to be reclaimed where nobody wants to.
    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        File::from(openat(&self.dir, file, flags, Mode::empty())?).write_all(text.as_bytes())
    }
}

/// One value that a fault holds: what was found, and what stands there meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The file.
    pub file: String,
    /// Where a file has a line for each device and several limits in it: "8:0" and "rbps".
    pub key: Option<(String, String)>,
    /// What was found.
    pub found: String,
    /// What stands there while the fault is on.
    pub ours: String,
}

/// What became of a value that was to be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Back {
    /// It is what it was.
    Restored,
    /// It was already.
    Already,
    /// Somebody has written this meanwhile, and it stays.
    Foreign(String),
}

impl Change {
    /// The file, and whose line of it.
    pub fn place(&self) -> String {
        match &self.key {
            Some((device, limit)) => format!("{} ({limit} of device {device})", self.file),
            None => self.file.clone(),
        }
    }

    /// Writes ours, where what was found still stands. All that we write is what the kernel shows for it afterwards, so
    /// another value is somebody else's, who has written while our write took its time (memory is reclaimed in it), and
    /// stays.
    pub fn put(&self, cgroup: &Folder) -> io::Result<()> {
        if self.now(cgroup)? != self.found {
            return Err(io::Error::other(format!("{} has just been changed by somebody else", self.place())));
        }
        self.write(cgroup, &self.ours)?;
        let now = self.now(cgroup)?;
        if now == self.ours {
            return Ok(());
        }
        let what = if now == self.found { "is" } else { "was made by somebody else, and stays," };
        Err(io::Error::other(format!(
            "{}: \"{}\" did not stay: it {what} \"{now}\"",
            self.place(),
            self.ours
        )))
    }

    /// Writes what was found, where ours still stands.
    pub fn put_back(&self, cgroup: &Folder) -> io::Result<Back> {
        let now = self.now(cgroup)?;
        if now == self.found {
            return Ok(Back::Already);
        }
        if now != self.ours {
            return Ok(Back::Foreign(now));
        }
        self.write(cgroup, &self.found)?;
        Ok(Back::Restored)
    }

    fn now(&self, cgroup: &Folder) -> io::Result<String> {
        let text = cgroup.read(&self.file)?;
        Ok(match &self.key {
            Some((device, limit)) => limit_in(&text, device, limit).unwrap_or(NO_LIMIT).to_owned(),
            None => text,
        })
    }

    fn write(&self, cgroup: &Folder, value: &str) -> io::Result<()> {
        match &self.key {
            Some((device, limit)) => cgroup.write(&self.file, &format!("{device} {limit}={value}")),
            None => cgroup.write(&self.file, value),
        }
    }
}

/// One limit of one device, in a file with lines such as "8:0 rbps=max wbps=1048576 riops=max wiops=max".
pub fn limit_in<'a>(text: &'a str, device: &str, limit: &str) -> Option<&'a str> {
    let limits = text.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' '))?;
    limits.split_whitespace().find_map(|word| word.strip_prefix(limit)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with plain files, which take what is written as it is.
    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let id = fs::metadata(dir.path()).unwrap().ino();
        let folder = Folder::open(dir.path(), id).unwrap();
        (dir, folder)
    }

    fn freeze() -> Change {
        Change { file: "cgroup.freeze".into(), key: None, found: "0".into(), ours: "1".into() }
    }

    #[test]
    fn what_was_found_comes_back() {
        let (dir, folder) = folder(&[("cgroup.freeze", "0\n")]);
        freeze().put(&folder).unwrap();
        assert_eq!("1", folder.read("cgroup.freeze").unwrap());
        assert_eq!(Back::Restored, freeze().put_back(&folder).unwrap());
        assert_eq!(Back::Already, freeze().put_back(&folder).unwrap());
        assert!(fs::read_to_string(dir.path().join("cgroup.freeze")).unwrap().starts_with('0'));
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let change =
            Change { file: "cpu.max".into(), key: None, found: "max 100000".into(), ours: "2 100000".into() };
        let (_dir, folder) = folder(&[("cpu.max", "50000 100000\n")]);
        assert!(change.put(&folder).is_err());
        assert_eq!(Back::Foreign("50000 100000".into()), change.put_back(&folder).unwrap());
        assert_eq!("50000 100000", folder.read("cpu.max").unwrap());
    }

    #[test]
    fn another_cgroup_of_the_same_name_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let id = fs::metadata(dir.path()).unwrap().ino();
        assert_eq!(io::ErrorKind::NotFound, Folder::open(dir.path(), id + 1).unwrap_err().kind());
    }

    #[test]
    fn limits_are_found_by_device_and_name() {
        let text =
            "8:0 rbps=1048576 wbps=max riops=max wiops=120\n8:16 rbps=max wbps=7 riops=max wiops=max\n";
        for (device, limit, expected) in [
            ("8:0", "rbps", Some("1048576")),
            ("8:0", "wiops", Some("120")),
            ("8:16", "wbps", Some("7")),
            ("8:1", "wbps", None),
            ("8", "wbps", None),
        ] {
            assert_eq!(expected, limit_in(text, device, limit), "{device} {limit}");
        }
    }
}
