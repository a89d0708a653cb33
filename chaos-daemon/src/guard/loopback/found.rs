//! The settings themselves, and the note of what they were.

use std::{
    fs,
    io::{self, Read, Seek},
    os::unix::fs::FileExt,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{super::run_dir::Lock, LoopbackError};

/// The settings, and what they must be.
const NEEDED: [(&str, u8); 2] = [("route_localnet", 1), ("accept_local", 1)];

const DIR: &str = "/proc/sys/net/ipv4/conf/lo";

/// What was found in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The namespace beyond doubt: inodes are used again. Unknown before Linux 5.14.
    pub cookie: Option<u64>,
    /// Settings that were changed, and what they were.
    pub changed: Vec<(String, u8)>,
}

impl Found {
    /// Nothing where nothing was written, or only half of it: no setting is changed before.
    pub fn read(file: &mut Lock) -> Self {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        read.ok().and_then(|_| serde_json::from_str(text.lines().next()?).ok()).unwrap_or_default()
    }

    /// In one write, which a signal does not cut in two; what was longer before ends at the line.
    fn write(&self, file: &Lock) -> io::Result<()> {
        let text = serde_json::to_string(self)? + "\n";
        file.write_all_at(text.as_bytes(), 0)
    }

    /// Of what a dead one has left, only that still counts which is as he made it.
    pub fn forget_others(&mut self) {
        self.changed.retain(|(setting, _)| is_ours(setting).unwrap_or(false));
    }

    /// Makes the settings that are not made yet, inside the namespace.
    pub fn change(&mut self, file: &Lock) -> Result<(), LoopbackError> {
        for (setting, needed) in NEEDED {
            let value = read(setting)?;
            if value == needed {
                continue;
            }
            if !self.changed.iter().any(|(known, _)| known == setting) {
                self.changed.push((setting.to_owned(), value));
            }
            self.write(file).map_err(LoopbackError::Note)?;
            write(setting, needed)?;
        }
        Ok(())
    }
}

fn read(setting: &str) -> Result<u8, LoopbackError> {
    let path = Path::new(DIR).join(setting);
    let wrong = |error| LoopbackError::Setting { path: path.clone(), error };
    fs::read_to_string(&path).map_err(wrong)?.trim().parse().map_err(|e| wrong(io::Error::other(e)))
}

/// Makes a setting, in the namespace of the calling thread.
pub fn write(setting: &str, value: u8) -> Result<(), LoopbackError> {
    let path = Path::new(DIR).join(setting);
    fs::write(&path, value.to_string()).map_err(|error| LoopbackError::Setting { path, error })
}

/// Whether a setting is as a line needs it.
pub fn is_ours(setting: &str) -> Result<bool, LoopbackError> {
    let value = read(setting)?;
    Ok(NEEDED.iter().any(|(name, needed)| *name == setting && *needed == value))
}

#[cfg(test)]
mod tests {
    use nix::fcntl::{Flock, FlockArg};

    use super::*;

    fn file() -> Lock {
        let file = tempfile::tempfile().expect("a file");
        Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("nobody else has it")
    }

    #[test]
    fn what_was_written_last_is_read() {
        let mut file = file();
        assert_eq!(Found::read(&mut file), Found::default());
        let long = Found { cookie: Some(7), changed: vec![("route_localnet".into(), 0), ("x".into(), 2)] };
        long.write(&file).expect("room");
        assert_eq!(Found::read(&mut file), long);
        let short = Found { cookie: None, changed: Vec::new() };
        short.write(&file).expect("room");
        assert_eq!((Found::read(&mut file), Found::read(&mut file)), (short.clone(), short));
    }

    #[test]
    fn half_a_note_is_none() {
        let mut file = file();
        file.write_all_at(b"{\"cookie\":7,\"chan", 0).expect("room");
        assert_eq!(Found::read(&mut file), Found::default());
    }
}
