//! The servers that tests run in a guest: their programs, and what those read, at the places where they look for it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{sh, vm::Choice};

/// The only one of our guests that has them: they are larger than everything else in one, and slow to start where it is
/// translated. What they do about a call that fails does not depend on the kernel. The suite knows the line, too, and
/// fails there without them.
const LINE: &str = "6.12";

/// What tells the suite that they are there.
pub const VARIABLE: &str = "KCHAOS_SERVERS=1";

/// Found as a shell would; a client that is not here at all is missed by its test.
const PROGRAMS: [&str; 4] = ["nginx", "redis-cli", "curl", "setpriv"];

/// Below `bin` of a version of Postgres.
const POSTGRES: [&str; 4] = ["postgres", "initdb", "psql", "pg_checksums"];

/// Libraries that a new database is made with, below `lib`.
const LIBRARIES: [&str; 2] = ["dict_snowball.so", "plpgsql.so"];

/// Folders of what they share that are not read: manuals, and extensions but for one.
const UNREAD: [&str; 3] = ["man", "contrib", "extension"];

/// That one, without which no database can be made.
const EXTENSION: &str = "plpgsql";

/// Whether the guest with this kernel has them: also with one that the user gives, which may be of any line.
pub fn are_in(choice: &Choice) -> bool {
    match choice {
        Choice::Line(line) => *line == LINE,
        Choice::File(_) => true,
    }
}

/// All files that they need beside shared libraries, as far as this machine has them.
pub fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = PROGRAMS.iter().filter_map(|name| sh::find_system(name)).collect();
    if let Some(version) = newest(Path::new("/usr/lib/postgresql")) {
        let shared = Path::new("/usr/share/postgresql").join(version.file_name().unwrap_or_default());
        files.extend(POSTGRES.map(|name| version.join("bin").join(name)));
        files.extend(LIBRARIES.map(|name| version.join("lib").join(name)));
        let extension = |file: &PathBuf| file.to_string_lossy().contains(EXTENSION);
        files.extend(below(&shared.join("extension"), &[]).into_iter().filter(extension));
        files.extend(below(&shared, &UNREAD));
    }
    files
}

/// The newest version that is a server and not only a client.
fn newest(versions: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(versions).ok()?.filter_map(Result::ok).map(|version| version.path());
    versions.filter(|version| version.join("bin/initdb").is_file()).max()
}

/// The files of a folder and of those in it, but for some.
fn below(folder: &Path, but: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in entries.filter(|entry| !but.iter().any(|name| entry.file_name() == *name)) {
        let path = entry.path();
        if path.is_dir() { folders.push(path) } else { files.push(path) }
    }
    files.extend(folders.iter().flat_map(|folder| below(folder, &[])));
    files
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::{LINE, are_in, below, newest};
    use crate::vm::LINES;

    #[test]
    fn there_is_a_guest_that_has_them() {
        assert!(LINES.iter().any(|(line, _)| *line == LINE));
        assert!(are_in(&LINE.parse().unwrap()) && !are_in(&"5.10".parse().unwrap()));
    }

    #[test]
    fn the_newest_server_and_what_is_below_it_are_found() {
        let folder = std::env::temp_dir().join(format!("kchaos-servers-{}", process::id()));
        for file in ["14/bin/initdb", "15/bin/initdb", "15/share/deep/file", "15/man/page", "16/bin/psql"] {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let version = newest(&folder);
        let mut found = below(&folder.join("15"), &["man"]);
        found.sort();
        fs::remove_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        assert_eq!(version, Some(at("15")));
        assert_eq!(found, [at("15/bin/initdb"), at("15/share/deep/file")]);
        assert_eq!(newest(&folder), None);
    }
}
