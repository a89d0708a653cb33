//! The kernel's questions about names of files.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::lib::hooks::paths;

/// `security_inode_getattr`: stat(2) and its like.
#[lsm(hook = "inode_getattr")]
pub fn kchaos_inode_getattr(ctx: LsmContext) -> i32 {
    paths::stat(&ctx)
}

/// The same once more, to learn the address of an inode that user space asks for.
#[lsm(hook = "inode_getattr")]
pub fn kchaos_find_inode(ctx: LsmContext) -> i32 {
    paths::find(&ctx)
}

/// `security_path_unlink`: unlink(2).
#[lsm(hook = "path_unlink")]
pub fn kchaos_path_unlink(ctx: LsmContext) -> i32 {
    paths::unlink(&ctx)
}

/// `security_path_mkdir`: mkdir(2).
#[lsm(hook = "path_mkdir")]
pub fn kchaos_path_mkdir(ctx: LsmContext) -> i32 {
    paths::mkdir(&ctx)
}

/// `security_path_rename`: rename(2) and its like.
#[lsm(hook = "path_rename")]
pub fn kchaos_path_rename(ctx: LsmContext) -> i32 {
    paths::rename(&ctx, 5)
}

/// The same before Linux 5.19, without flags.
#[lsm(hook = "path_rename")]
pub fn kchaos_path_rename4(ctx: LsmContext) -> i32 {
    paths::rename(&ctx, 4)
}

/// `security_path_truncate`: truncate(2), and ftruncate(2) before Linux 6.2.
#[lsm(hook = "path_truncate")]
pub fn kchaos_path_truncate(ctx: LsmContext) -> i32 {
    paths::truncate(&ctx)
}
