//! Looking at records: all of them, one by its name, those with certain words.
//!
//! The folder is not ours alone: people edit record.md, copy, and put things there, and disks fill up in the middle of
//! a file. What must stay true: whatever is not a record of ours is shown with the reason and breaks nothing, and no
//! link is followed, because root reads here.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Deserialize;

use super::{JSON, MARKDOWN, StoreError, UNFINISHED, id};
use crate::record::{Record, VERSION, plain::plain};

/// No file of a record is longer, in bytes: an hour with twenty probes takes a fiftieth of this.
const MOST: u64 = 256 << 20;

/// A folder of records, to look at.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
}

/// What lies in a folder.
#[derive(Debug)]
pub struct Found {
    /// The name of the folder.
    pub id: String,
    /// The folder.
    pub path: PathBuf,
    /// The record, or why it cannot be read.
    pub record: Result<Box<Record>, String>,
}

/// A record that can be read.
#[derive(Debug)]
pub struct Kept {
    /// The folder.
    pub path: PathBuf,
    /// The record.
    pub record: Box<Record>,
}

impl Found {
    /// When it began, as it can be ordered: by its name, so that it is known of those that cannot be read.
    fn order(&self) -> (&str, &str) {
        (id::time_of(&self.id).unwrap_or_default(), &self.id)
    }

    /// When it ended; of one that cannot be read, when it began, if its name says so.
    pub fn time(&self) -> Option<Timestamp> {
        let finished = self.record.as_ref().ok().and_then(|record| record.times.finished.parse().ok());
        finished.or_else(|| id::time_of(&self.id)?.parse().ok())
    }

    /// Whether all these words, in lower case, occur in what the run was about or in what people wrote into its
    /// record.md.
    fn has(&self, words: &[String]) -> bool {
        let mut text = self.id.to_lowercase();
        if let Ok(record) = &self.record {
            text = format!("{text}\n{}", about(record).to_lowercase());
        }
        let missing: Vec<&String> = words.iter().filter(|word| !text.contains(*word)).collect();
        if missing.is_empty() {
            return true;
        }
        // Not through a link.
        if self.path.is_symlink() {
            return false;
        }
        let Ok(edited) = text_of(&self.path.join(MARKDOWN)) else { return false };
        let edited = edited.to_lowercase();
        missing.into_iter().all(|word| edited.contains(word))
    }
}

/// What a run is searched by.
fn about(record: &Record) -> String {
    let mut texts = vec![
        record.experiment.clone(),
        record.hypothesis.clone().unwrap_or_default(),
        record.tags.join("\n"),
        finding(record),
        record.verdict.reason.clone(),
        record.by.user.clone(),
        record.by.host.clone(),
        record.file.text.clone(),
        record.file.path.clone().unwrap_or_default(),
    ];
    texts.extend(record.probes.iter().flat_map(|probe| [probe.name.clone(), probe.what.clone()]));
    texts.extend(record.stops.iter().flat_map(|stop| [stop.name.clone(), stop.what.clone()]));
    texts.extend(record.injections.iter().flat_map(|fault| [fault.fault.clone(), fault.kind.clone()]));
    texts.extend(record.result.as_ref().map(ToString::to_string));
    texts.join("\n")
}

fn finding(record: &Record) -> String {
    crate::record::words::word(record.verdict.verdict).to_owned()
}

impl Shelf {
    /// The records in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// All of them, the newest first.
    pub fn list(&self) -> Result<Vec<Found>, StoreError> {
        let unreadable = |error| StoreError::Unreadable { dir: self.dir.clone(), error };
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            // Nothing was ever recorded.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let id = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = entry.file_type() else { continue };
            // A file beside the folders is nobody's record.
            if id.starts_with(UNFINISHED) || !(kind.is_dir() || kind.is_symlink()) {
                continue;
            }
            let path = entry.path();
            let record = if kind.is_symlink() {
                Err("it is a symbolic link, and none is followed here".to_owned())
            } else {
                read(&path.join(JSON)).map(Box::new)
            };
            found.push(Found { id, path, record });
        }
        found.sort_by(|a, b| b.order().cmp(&a.order()));
        Ok(found)
    }

    /// Those in which all these words occur somewhere, in whichever case; the newest first.
    pub fn search(&self, words: &[String]) -> Result<Vec<Found>, StoreError> {
        let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
        Ok(self.list()?.into_iter().filter(|found| found.has(&words)).collect())
    }

    /// The record with this id; or the newest run of the experiment with this name; or the newest run of the only
    /// experiment that begins so.
    pub fn get(&self, name: &str) -> Result<Kept, StoreError> {
        let shown = plain(name);
        let list = self.list()?;
        if let Some(index) = list.iter().position(|found| found.id == name) {
            let Found { path, record, .. } =
                list.into_iter().nth(index).ok_or_else(|| self.unknown(&shown))?;
            return match record {
                Ok(record) => Ok(Kept { path, record }),
                Err(reason) => Err(StoreError::Garbage { path, reason }),
            };
        }
        let mut kept: Vec<Kept> = list
            .into_iter()
            .filter_map(|found| Some(Kept { path: found.path, record: found.record.ok()? }))
            .collect();
        if let Some(index) = kept.iter().position(|kept| kept.record.experiment == name) {
            return Ok(kept.swap_remove(index));
        }
        let begins = |kept: &Kept| {
            let folder = kept.path.file_name().unwrap_or_default().to_string_lossy();
            folder.starts_with(name) || kept.record.experiment.starts_with(name)
        };
        kept.retain(begins);
        let mut names: Vec<String> = kept.iter().map(|kept| plain(&kept.record.experiment)).collect();
        names.sort_unstable();
        names.dedup();
        match (kept.into_iter().next(), names.len()) {
            (Some(newest), 1) if !name.is_empty() => Ok(newest),
            (Some(_), 2..) if !name.is_empty() => {
                Err(StoreError::Ambiguous { name: shown, candidates: names })
            }
            _ => Err(self.unknown(&shown)),
        }
    }

    fn unknown(&self, name: &str) -> StoreError {
        StoreError::Unknown { name: name.to_owned(), dir: self.dir.clone() }
    }
}

/// Reads a record.json.
pub fn read(path: &Path) -> Result<Record, String> {
    /// What every version of the document has.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let text = text_of(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {JSON} in it"),
        _ => format!("{JSON}: {error}"),
    })?;
    let wrong = |error: serde_json::Error| format!("{JSON} is no record: {error}");
    let Versioned { version } = serde_json::from_str(&text).map_err(wrong)?;
    if version > VERSION {
        return Err(format!(
            "a newer kchaos wrote it (version {version} of the document, this one knows {VERSION})"
        ));
    }
    serde_json::from_str(&text).map_err(wrong)
}

/// The text of a file of a record, as people may have edited it.
pub fn text_of(path: &Path) -> io::Result<String> {
    // Neither a link, nor a pipe that would be waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other("it is a symbolic link, and none is followed here"),
            _ => error,
        }
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other("it is longer than 256 MiB, which no such file is"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not a text in UTF-8"))
}
