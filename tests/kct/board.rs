//! Memory shared with whoever started us, by a file: a process whose calls fail can still be told something, and answer.

use std::{fs::File, os::fd::AsRawFd as _, path::Path, ptr, sync::atomic::AtomicU64};

/// The first words of a file, for as long as this process lives.
pub fn mapped(path: &Path, words: usize) -> &'static [AtomicU64] {
    let file = File::options().read(true).write(true).open(path).unwrap();
    // SAFETY: a new mapping, as long as the file.
    let memory = unsafe {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), words * 8, prot, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(libc::MAP_FAILED, memory);
    // SAFETY: so many words, which are never unmapped.
    unsafe { std::slice::from_raw_parts(memory.cast(), words) }
}
