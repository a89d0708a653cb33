//! /run/kchaos: locks that the kchaos processes of one host hold against each other. It is readable by root only, and
//! empty after a reboot.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

const DIR: &str = "/run/kchaos";

/// A lock that is free again when this is dropped, and when its holder dies, however it dies.
pub type Lock = Flock<File>;

/// Opens the file of a lock, making it and the folder if need be; the error names the path.
pub fn open(name: &str) -> Result<File, (PathBuf, io::Error)> {
    let dir = Path::new(DIR);
    fs::DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(|e| (dir.to_owned(), e))?;
    let path = dir.join(name);
    File::options().create(true).truncate(false).write(true).open(&path).map_err(|e| (path, e))
}

/// Waits for a lock and takes it.
pub fn lock(name: &str) -> io::Result<Lock> {
    let file = open(name)
        .map_err(|(path, error)| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}
