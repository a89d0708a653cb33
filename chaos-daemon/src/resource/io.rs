//! `io`: a cgroup reads and writes so much in a second and no more, as on a disk that others keep busy.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::{
    Change, Folder, Hold,
    files::{NO_LIMIT, limit_in},
};
use crate::config::Problem;

const FILE: &str = "io.max";

/// All block devices, whole disks and what is made of them.
const DISKS: &str = "/sys/block";

/// The same by number, with their parts.
const BY_NUMBER: &str = "/sys/dev/block";

/// What is asked for.
#[derive(Debug)]
pub struct Io {
    /// Limits by the kernel's names for them: "rbps" and its like, in bytes or operations a second.
    pub limits: Vec<(&'static str, u64)>,
    /// The devices, as written; empty: all there are.
    pub devices: Vec<PathBuf>,
    /// Where they are written.
    pub place: Range<usize>,
}

impl Hold for Io {
    fn kind(&self) -> &'static str {
        "io"
    }

    fn controller(&self) -> Option<&'static str> {
        Some("io")
    }

    fn files(&self) -> &'static [&'static str] {
        &[FILE]
    }

    fn check(&self) -> Result<(), Problem> {
        let wrong = |message: String, help: &str| Problem::at(self.place.clone(), message, "here").help(help);
        match self.disks() {
            Ok(disks) if disks.is_empty() => Err(wrong(
                "this host has no block devices".to_owned(),
                "there is nothing to throttle: leave it out",
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(wrong(error.to_string(), "`lsblk` shows block devices: device = \"/dev/sda\"")),
        }
    }

    fn changes(&self, cgroup: &Folder) -> io::Result<Vec<Change>> {
        let text = cgroup.read(FILE)?;
        let mut changes = Vec::new();
        for disk in self.disks()? {
            for (limit, wanted) in &self.limits {
                let found = limit_in(&text, &disk, limit).unwrap_or(NO_LIMIT);
                if found == NO_LIMIT || found.parse::<u64>().is_ok_and(|found| *wanted < found) {
                    changes.push(Change {
                        file: FILE.to_owned(),
                        key: Some((disk.clone(), (*limit).to_owned())),
                        found: found.to_owned(),
                        ours: wanted.to_string(),
                    });
                }
            }
        }
        Ok(changes)
    }
}

impl Io {
    /// The numbers of the disks, "8:0", each once: several parts of a disk, and its links, stand for the same.
    fn disks(&self) -> io::Result<Vec<String>> {
        if self.devices.is_empty() {
            all_disks(Path::new(DISKS))
        } else {
            let disks: BTreeSet<String> = self.devices.iter().map(|d| disk(d)).collect::<io::Result<_>>()?;
            Ok(disks.into_iter().collect())
        }
    }
}

/// Those that hold anything: a loop device without a file has no size.
fn all_disks(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // A kernel without block devices.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let attribute = |device: &Path, name: &str| {
        fs::read_to_string(device.join(name)).ok().map(|text| text.trim().to_owned())
    };
    let mut disks: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|device| attribute(device, "size").is_some_and(|size| size != "0"))
        .filter_map(|device| attribute(&device, "dev"))
        .collect();
    disks.sort();
    Ok(disks)
}

/// The disk that a device is or is a part of: the kernel throttles whole disks.
fn disk(device: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", device.display()));
    let data = fs::metadata(device).map_err(named)?;
    if !data.file_type().is_block_device() {
        return Err(io::Error::other(format!("{} is no block device", device.display())));
    }
    let number = format!("{}:{}", libc::major(data.rdev()), libc::minor(data.rdev()));
    let known = Path::new(BY_NUMBER).join(&number);
    if !known.join("partition").exists() {
        return Ok(number);
    }
    let disk = fs::canonicalize(known)?.parent().map(|disk| disk.join("dev"));
    let disk = disk
        .ok_or_else(|| io::Error::from(ErrorKind::NotFound))
        .and_then(fs::read_to_string)
        .map_err(named)?;
    Ok(disk.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_without_a_size_are_none() {
        let dir = tempfile::tempdir().unwrap();
        for (name, size, number) in [("vda", "2048", "254:0"), ("loop0", "0", "7:0"), ("sda", "1", "8:0")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("size"), format!("{size}\n")).unwrap();
            fs::write(dir.path().join(name).join("dev"), format!("{number}\n")).unwrap();
        }
        assert_eq!(["254:0", "8:0"], *all_disks(dir.path()).unwrap());
        assert!(all_disks(&dir.path().join("none")).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_disk_is_said() {
        let error = disk(Path::new("/dev/null")).unwrap_err();
        assert!(error.to_string().contains("/dev/null is no block device"), "{error}");
        assert!(disk(Path::new("/dev/none-such")).unwrap_err().to_string().contains("/dev/none-such"));
    }
}
