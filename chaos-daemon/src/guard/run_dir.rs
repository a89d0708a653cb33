//! /run/kchaos: locks that the kchaos processes of one host hold against each other. It is readable by root only, and
//! empty after a reboot.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

const DIR: &str = "/run/kchaos";

/// A lock that is free again when this is dropped, and when its holder dies, however it dies.
pub type Lock = Flock<File>;

/// Opens the file of a lock, making it and the folder if need be; the error names the path.
pub fn open(name: &str) -> Result<File, (PathBuf, io::Error)> {
    let dir = Path::new(DIR);
    fs::DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(|e| (dir.to_owned(), e))?;
    let path = dir.join(name);
    File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(|e| (path, e))
}

/// Removes the file of a lock. Who does so must keep others from taking it in between.
pub fn remove(name: &str) -> io::Result<()> {
    fs::remove_file(Path::new(DIR).join(name))
}

/// What follows `prefix` in the names of files there.
pub fn with_prefix(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(DIR).into_iter().flatten().flatten();
    let rest = |name: String| name.strip_prefix(prefix).map(ToOwned::to_owned);
    entries.filter_map(|entry| rest(entry.file_name().to_string_lossy().into_owned())).collect()
}

/// How long another kchaos may hold a lock: what is done under one takes a moment. One that was stopped in the middle
/// must not stop all others.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Takes a lock, waiting for it if need be: so long, then it is [`io::ErrorKind::TimedOut`].
pub fn lock(name: &str, patience: Duration) -> io::Result<Lock> {
    let mut file = open(name)
        .map_err(|(path, error)| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let until = Instant::now() + patience;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((same, Errno::EWOULDBLOCK)) if Instant::now() < until => {
                file = same;
                thread::sleep(Duration::from_millis(2));
            }
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("another kchaos holds {DIR}/{name} for more than {patience:?}; is it stopped?"),
                ));
            }
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}
