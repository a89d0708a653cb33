//! The settings themselves, and the note of what they were.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    super::{
        run_dir::{self, Lock},
        sysctl,
    },
    LoopbackError,
};

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
            run_dir::note(file, self).map_err(LoopbackError::Note)?;
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
    sysctl::write(&path, &value.to_string()).map_err(|error| LoopbackError::Setting { path, error })
}

/// Whether a setting is as a line needs it.
pub fn is_ours(setting: &str) -> Result<bool, LoopbackError> {
    let value = read(setting)?;
    Ok(NEEDED.iter().any(|(name, needed)| *name == setting && *needed == value))
}
