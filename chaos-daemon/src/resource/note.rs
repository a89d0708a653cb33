//! What one file of the [`super::journal`] says, and what becomes of it.
//!
//! What must stay true: only what is as we made it is put back; what somebody else has changed meanwhile is theirs.

use std::{io::ErrorKind, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Back, Change, Folder};
use crate::printable::printable;

/// What is held of a cgroup, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Who, for his keeper.
    pub owner: String,
    /// The cgroup's folder.
    pub path: PathBuf,
    /// Its path below the root.
    pub name: String,
    /// Its id.
    pub id: u64,
    /// What is held now.
    pub changes: Vec<Change>,
}

impl Note {
    /// Puts everything back, what was written last first.
    pub fn put_back(&self) -> Undone {
        let mut undone = Undone::default();
        let folder = match Folder::open(&self.path, self.id) {
            Ok(folder) => folder,
            // A cgroup that is gone has taken its values along.
            Err(error) if error.kind() == ErrorKind::NotFound && self.sees_the_hierarchy() => return undone,
            Err(error) => {
                undone.failed =
                    self.changes.iter().map(|change| self.says(change, &error.to_string())).collect();
                return undone;
            }
        };
        for change in self.changes.iter().rev() {
            match change.put_back(&folder) {
                Ok(Back::Restored) => {
                    undone.restored.push(self.says(change, &format!("is \"{}\" again", change.found)));
                }
                Ok(Back::Already) => {}
                Ok(Back::Foreign(now)) => undone.foreign.push(self.says(
                    change,
                    &format!(
                        "was made \"{now}\" by somebody else while a fault held it at \"{}\", and stays so",
                        change.ours
                    ),
                )),
                // The folder is held open, and its files go all the same.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => {}
                Err(error) => undone.failed.push(self.says(change, &error.to_string())),
            }
        }
        undone
    }

    /// Whether the hierarchy of cgroups is where it was to whoever wrote this: in a container it may be elsewhere.
    fn sees_the_hierarchy(&self) -> bool {
        let depth = self.name.split('/').filter(|part| !part.is_empty()).count();
        self.path.ancestors().nth(depth).is_some_and(|root| root.join("cgroup.controllers").exists())
    }

    fn says(&self, change: &Change, what: &str) -> String {
        format!("{} of {} {what}", change.place(), printable(&self.name))
    }
}

/// What became of what was to be put back, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// What is as it was.
    pub restored: Vec<String>,
    /// What somebody else has changed.
    pub foreign: Vec<String>,
    /// What is not as it was, and why.
    pub failed: Vec<String>,
}

impl Undone {
    /// And another one.
    pub fn add(&mut self, other: Self) {
        self.restored.extend(other.restored);
        self.foreign.extend(other.foreign);
        self.failed.extend(other.failed);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    fn note(dir: &std::path::Path) -> Note {
        let change = |file: &str, found: &str, ours: &str| Change {
            file: file.to_owned(),
            key: None,
            found: found.to_owned(),
            ours: ours.to_owned(),
        };
        Note {
            owner: "me".into(),
            path: dir.to_owned(),
            name: "/x".into(),
            id: fs::metadata(dir).unwrap().ino(),
            changes: vec![change("memory.high", "max", "4096"), change("memory.max", "8192", "4096")],
        }
    }

    #[test]
    fn everything_is_put_back_but_what_others_have_changed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.high"), "4096\n").unwrap();
        fs::write(dir.path().join("memory.max"), "1\n").unwrap();
        let undone = note(dir.path()).put_back();
        assert_eq!(["memory.high of /x is \"max\" again"], *undone.restored);
        assert!(
            undone.foreign[0].starts_with("memory.max of /x was made \"1\" by somebody else"),
            "{undone:?}"
        );
        assert!(undone.failed.is_empty());
        // And once more: there is nothing to do.
        assert_eq!(Vec::<String>::new(), note(dir.path()).put_back().restored);
    }

    #[test]
    fn a_cgroup_that_is_gone_needs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let note = Note { path: dir.path().join("x"), ..note(dir.path()) };
        // Where there is no hierarchy, nobody can tell.
        assert_eq!(2, note.put_back().failed.len());
        fs::write(dir.path().join("cgroup.controllers"), "").unwrap();
        assert_eq!(Undone::default(), note.put_back());
    }
}
