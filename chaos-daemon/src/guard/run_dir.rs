//! /run/kchaos: locks that the kchaos processes of one host hold against each other. It is readable by root only, and
//! empty after a reboot.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use serde::{Serialize, de::DeserializeOwned};

/// The folder.
pub const PATH: &str = "/run/kchaos";

/// A lock that is free again when this is dropped, and when its holder dies, however it dies.
pub type Lock = Flock<File>;

/// Opens the file of a lock, making it and the folder if need be; the error names the path.
pub fn open(name: &str) -> Result<File, (PathBuf, io::Error)> {
    let dir = Path::new(PATH);
    make().map_err(|e| (dir.to_owned(), e))?;
    let path = dir.join(name);
    File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(|e| (path, e))
}

/// Makes the folder.
pub fn make() -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(PATH)
}

/// Removes the file of a lock. Who does so must keep others from taking it in between.
pub fn remove(name: &str) -> io::Result<()> {
    fs::remove_file(Path::new(PATH).join(name))
}

/// What follows `prefix` in the names of files there.
pub fn with_prefix(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(PATH).into_iter().flatten().flatten();
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
                    format!("another kchaos holds {PATH}/{name} for more than {patience:?}; is it stopped?"),
                ));
            }
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

/// What its holder has noted in the file of a lock. What was written only half is nothing: nothing is changed before it is
/// noted.
pub fn noted<T: DeserializeOwned + Default>(lock: &mut Lock) -> T {
    let mut text = String::new();
    let read = lock.rewind().and_then(|()| lock.read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(text.lines().next()?).ok()).unwrap_or_default()
}

/// Notes it there, in one write, which a signal does not cut in two; what was longer before ends at the line.
pub fn note(lock: &Lock, what: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(what)? + "\n";
    lock.write_all_at(text.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use nix::fcntl::{Flock, FlockArg};

    use super::{Lock, note, noted};

    fn lock() -> Lock {
        let file = tempfile::tempfile().expect("a place for temporary files");
        Flock::lock(file, FlockArg::LockExclusiveNonblock).expect("nobody else has it")
    }

    #[test]
    fn the_last_note_counts() {
        let mut lock = lock();
        assert!(noted::<Vec<u32>>(&mut lock).is_empty());
        note(&lock, &[1, 2, 3]).expect("room");
        assert_eq!(noted::<Vec<u32>>(&mut lock), [1, 2, 3]);
        note(&lock, &[4]).expect("room");
        assert_eq!((noted::<Vec<u32>>(&mut lock), noted::<Vec<u32>>(&mut lock)), (vec![4], vec![4]));
    }

    #[test]
    fn half_a_note_is_none() {
        let mut lock = lock();
        lock.write_all_at(b"[1,2", 0).expect("room");
        assert!(noted::<Vec<u32>>(&mut lock).is_empty());
    }
}
