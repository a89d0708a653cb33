//! Where records are kept: a folder for each run, `DIR/ID/`, with record.json for programs, record.md for people to
//! complete, and record.html to look at.
//!
//! A record appears whole or not at all: it is written into a folder that begins with a dot, and renamed. Several
//! processes may write, look and clear up at the same time. What must stay true: whatever else lies in the folder
//! breaks nothing ([`find`]) and is never removed ([`retention`]).

mod error;
mod find;
mod id;
mod retention;

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use jiff::Timestamp;

use super::{Record, html, markdown};

pub use error::StoreError;
pub use find::{Found, Kept, Shelf, text_of};
pub use id::id;
pub use retention::Keep;

/// For programs: everything.
pub const JSON: &str = "record.json";
/// For people, to be completed by them.
pub const MARKDOWN: &str = "record.md";
/// To look at.
pub const HTML: &str = "record.html";

/// What a record consists of.
const FILES: [&str; 3] = [JSON, MARKDOWN, HTML];

/// Where records are kept unless somebody says otherwise.
pub const DEFAULT: &str = "/var/lib/kchaos/records";

/// Names another place.
pub const VARIABLE: &str = "KCHAOS_RECORDS";

/// Folders in the making, and those on their way out. What a killed process has left of them is cleared up later.
const UNFINISHED: &str = ".unfinished-";

/// How often another name is tried where one is taken.
const TRIES: usize = 100;

/// The place that `KCHAOS_RECORDS` names, or the default.
pub fn default_dir() -> PathBuf {
    std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty()).map_or_else(|| DEFAULT.into(), PathBuf::from)
}

/// A folder that records can be written to.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    keep: Keep,
}

impl Store {
    /// Makes the folder if need be, and tries whether it can be written: to be called before anything is injected, as
    /// a run whose record is lost has been for nothing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let unusable = |error| StoreError::Unusable { dir: dir.to_owned(), error };
        // A relative path must mean the same folder when the run is over.
        let dir = std::path::absolute(dir).map_err(unusable)?;
        let store = Self { dir, keep: Keep::default() };
        DirBuilder::new().mode(0o750).recursive(true).create(&store.dir).map_err(unusable)?;
        let trial = store.unfinished("trial");
        let tried = make(&trial, &[(JSON, "{}".to_owned())]).map_err(|(_, error)| error);
        let removed = fs::remove_dir_all(&trial);
        tried.and(removed).map_err(unusable)?;
        Ok(store)
    }

    /// The same with other bounds.
    #[must_use]
    pub const fn keeping(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps a record and answers with its folder. If it has no id yet, or somebody else has the same, it gets one.
    /// Then the oldest are removed, as far as there are too many.
    pub fn put(&self, record: &mut Record) -> Result<PathBuf, StoreError> {
        if id::time_of(&record.id).is_none() {
            record.id = id(&record.experiment, start_of(record));
        }
        for _ in 0..TRIES {
            if let Some(path) = self.try_put(record)? {
                retention::apply(&self.dir, self.keep, &record.id);
                return Ok(path);
            }
            record.id = id::another(&record.id);
        }
        let path = self.dir.join(&record.id);
        Err(StoreError::Write { path, error: io::ErrorKind::AlreadyExists.into() })
    }

    /// `None` if its id is taken.
    fn try_put(&self, record: &Record) -> Result<Option<PathBuf>, StoreError> {
        let path = self.dir.join(&record.id);
        if path.symlink_metadata().is_ok() {
            return Ok(None);
        }
        let unfinished = self.unfinished(&record.id);
        let written = contents(record)
            .map_err(|error| (path.join(JSON), error))
            .and_then(|files| make(&unfinished, &files))
            .and_then(|()| match fs::rename(&unfinished, &path) {
                Ok(()) => Ok(true),
                // A folder can be renamed over another one only if that is empty, so none is ever overwritten.
                Err(error) if is_taken(&error) => Ok(false),
                Err(error) => Err((path.clone(), error)),
            });
        let there = match written {
            Ok(true) => return Ok(Some(path)),
            Ok(false) => Ok(None),
            Err((path, error)) => Err(StoreError::Write { path, error }),
        };
        // What cannot be removed now is cleared up later.
        let _leftover = fs::remove_dir_all(&unfinished);
        there
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.dir.join(unfinished(name))
    }
}

/// The name of a folder that is not ready yet, or not any more: another one each time, in every thread.
fn unfinished(name: &str) -> String {
    format!("{UNFINISHED}{name}-{}-{}", process::id(), id::letters())
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory
    )
}

/// When the run began, or now.
fn start_of(record: &Record) -> Timestamp {
    let times = &record.times;
    let known = [times.started.as_deref(), times.baseline.as_deref(), Some(&*times.finished)];
    known.into_iter().flatten().find_map(|time| time.parse().ok()).unwrap_or_else(Timestamp::now)
}

/// The files of a record.
fn contents(record: &Record) -> io::Result<Vec<(&'static str, String)>> {
    let json = serde_json::to_string(record).map_err(io::Error::other)? + "\n";
    Ok(vec![(JSON, json), (MARKDOWN, markdown::render(record)), (HTML, html::render(record))])
}

/// Makes a folder with files, all of it on the disk when this returns.
fn make(dir: &Path, files: &[(&str, String)]) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    DirBuilder::new().mode(0o750).create(dir).map_err(at(dir))?;
    for (name, text) in files {
        let path = dir.join(name);
        let mut file =
            File::options().write(true).create_new(true).mode(0o640).open(&path).map_err(at(&path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(&path))?;
    }
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

#[cfg(test)]
mod tests;
