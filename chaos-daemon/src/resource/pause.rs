//! `pause`: all processes of a cgroup stand still, as on a host that is migrated or a virtual machine that is not scheduled.
//! They neither run nor see a signal, but for SIGKILL; time goes on around them.

use std::{io, time::Duration};

use super::{Change, Folder, Hold};

const FILE: &str = "cgroup.freeze";

/// What is asked for.
#[derive(Debug)]
pub struct Pause {
    /// How long at most.
    pub lasts: Option<Duration>,
}

impl Hold for Pause {
    fn kind(&self) -> &'static str {
        "pause"
    }

    fn controller(&self) -> Option<&'static str> {
        None
    }

    fn files(&self) -> &'static [&'static str] {
        &[FILE]
    }

    fn lasts(&self) -> Option<Duration> {
        self.lasts
    }

    fn stops_us(&self) -> bool {
        true
    }

    fn changes(&self, cgroup: &Folder) -> io::Result<Vec<Change>> {
        let found = cgroup.read(FILE)?;
        // Somebody has frozen it, and will thaw it.
        if found != "0" {
            return Ok(Vec::new());
        }
        Ok(vec![Change { file: FILE.to_owned(), key: None, found, ours: "1".to_owned() }])
    }
}
