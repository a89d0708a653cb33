//! Reads of a disk.

use std::{
    fs::File,
    io::{Read, Seek},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

const BLOCK: usize = 16 * 1024;

/// Past the caches, buffers must begin where pages do.
#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

/// From its beginning to its end, again and again until killed.
pub fn read(path: &Path, direct: bool) -> ! {
    let flags = if direct { libc::O_DIRECT } else { 0 };
    let mut file = File::options().read(true).custom_flags(flags).open(path).unwrap();
    let mut block = Box::new(Aligned([0; BLOCK]));
    loop {
        while file.read(&mut block.0).unwrap() > 0 {}
        file.rewind().unwrap();
    }
}
