//! What can be wrong with a folder of records.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a record could not be kept or found.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Nothing can be written there. Found out before anything is injected.
    #[error(
        "records cannot be kept in {}: {error}\nmake that folder writable for kchaos, or name another one: --record \
         DIR or KCHAOS_RECORDS, and for the daemon `records` in its settings", dir.display()
    )]
    Unusable {
        /// Where.
        dir: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// This record could not be written.
    #[error("the record could not be written to {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The folder of records itself cannot be read.
    #[error(
        "the records in {} cannot be read: {error}\nthey belong to root; another folder is named by --dir or \
         KCHAOS_RECORDS", dir.display()
    )]
    Unreadable {
        /// Where.
        dir: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no such record.
    #[error("no record in {} is called \"{name}\"; `kchaos record list` shows those that there are", dir.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where.
        dir: PathBuf,
    },
    /// Several experiments begin so.
    #[error("\"{name}\" may be any of these, write more of it: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Names of experiments.
        candidates: Vec<String>,
    },
    /// It is there, and it is no record that can be read.
    #[error("the record {} cannot be read: {reason}", path.display())]
    Garbage {
        /// Its folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
