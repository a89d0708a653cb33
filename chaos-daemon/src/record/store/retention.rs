//! How many records are kept. A host that runs an experiment every hour must not fill its disk with evidence.
//!
//! What must stay true: only folders are removed that are records of ours beyond doubt, by their name, by what stands in
//! their record.json, and because nothing else lies in them; and neither the newest nor the one just written.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{FILES, JSON, UNFINISHED, find, id, unfinished};

/// What is kept at most; the newest is, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many runs.
    pub runs: usize,
    /// So many bytes in all.
    pub bytes: u64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { runs: 200, bytes: 1 << 30 }
    }
}

/// After so long nobody is writing at a folder any more.
const ABANDONED: Duration = Duration::from_hours(1);

/// Removes what is too much. What cannot be removed is said in the log and stays: no run fails for it.
pub fn apply(dir: &Path, keep: Keep, just_written: &str) {
    let mut records = candidates(dir);
    // The newest first; `find` orders them in the same way.
    records.sort_by(|a, b| (&b.time, &b.name).cmp(&(&a.time, &a.name)));
    let newest = records.first().map(|record| record.name.clone());
    // What is kept in any case counts first.
    records.sort_by_key(|record| record.name != just_written && Some(&record.name) != newest.as_ref());
    let (mut runs, mut bytes) = (0_usize, 0_u64);
    for record in &records {
        runs += 1;
        bytes = bytes.saturating_add(record.bytes);
        let too_much = runs > keep.runs || bytes > keep.bytes;
        let stays = record.name == just_written || Some(&record.name) == newest.as_ref();
        if too_much && !stays && is_ours(&record.path, &record.name) {
            if let Err(error) = remove(dir, record)
                // Another process may have done it already.
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!("the old record {} cannot be removed: {error}", record.path.display());
                continue;
            }
            runs -= 1;
            bytes = bytes.saturating_sub(record.bytes);
        }
    }
    clear_up(dir);
}

struct Candidate {
    name: String,
    time: String,
    path: PathBuf,
    bytes: u64,
}

/// Folders whose names are those of records.
fn candidates(dir: &Path) -> Vec<Candidate> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let time = id::time_of(&name)?.to_owned();
            let path = entry.path();
            let size = |file: &str| path.join(file).symlink_metadata().map_or(0, |meta| meta.size());
            let bytes = FILES.iter().map(|file| size(file)).sum();
            Some(Candidate { name, time, path, bytes })
        })
        .collect()
}

/// Whether this is a record of ours, whole, and nothing else.
fn is_ours(path: &Path, name: &str) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let only_files_of_ours = entries.into_iter().all(|entry| {
        FILES.iter().any(|file| entry.file_name() == *file)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    only_files_of_ours && find::read(&path.join(JSON)).is_ok_and(|record| record.id == name)
}

/// Takes it out of sight first, so that nobody sees half of it.
fn remove(dir: &Path, record: &Candidate) -> std::io::Result<()> {
    let going = dir.join(unfinished(&record.name));
    fs::rename(&record.path, &going)?;
    remove_files(&going)
}

/// The files of a record and then its folder. If somebody has put another file there in the meantime, that stays.
fn remove_files(folder: &Path) -> std::io::Result<()> {
    for file in FILES {
        match fs::remove_file(folder.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::remove_dir(folder)
}

/// Removes what killed processes have left half-way.
fn clear_up(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        let old = |changed: SystemTime| changed.elapsed().is_ok_and(|age| age > ABANDONED);
        if entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.modified().is_ok_and(old)) {
            // If it cannot be removed it is tried again after the next run.
            let _stays = remove_files(&entry.path());
        }
    }
}
