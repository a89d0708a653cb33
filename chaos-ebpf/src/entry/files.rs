//! The kernel's questions about open files. A program answers 0 or a negative errno; so do those of the other files here
//! that bear the name of an LSM hook. By which way they get there is user space's choice.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::lib::hooks::files;

/// `security_file_permission`: the read and write families, on whatever has a descriptor.
#[lsm(hook = "file_permission")]
pub fn kchaos_file_permission(ctx: LsmContext) -> i32 {
    files::permission(&ctx)
}

/// `security_file_open`: open(2) and its like.
#[lsm(hook = "file_open")]
pub fn kchaos_file_open(ctx: LsmContext) -> i32 {
    files::open(&ctx)
}

/// `security_mmap_file`: mmap(2).
#[lsm(hook = "mmap_file")]
pub fn kchaos_mmap_file(ctx: LsmContext) -> i32 {
    files::mmap(&ctx, 3)
}

/// The same among security modules, which are told one thing more.
#[lsm(hook = "mmap_file")]
pub fn kchaos_mmap_file4(ctx: LsmContext) -> i32 {
    files::mmap(&ctx, 4)
}

/// `security_file_truncate`, from Linux 6.2 on: ftruncate(2).
#[lsm(hook = "file_truncate")]
pub fn kchaos_file_truncate(ctx: LsmContext) -> i32 {
    files::truncate(&ctx)
}
