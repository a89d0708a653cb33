//! Questions about names of files.

use aya_ebpf::programs::LsmContext;
use chaos_common::{rule::hook, scope::Scope};

use super::{pointer, previous};
use crate::{
    lib::{
        caller, file,
        offset::{Known, offset},
        syscall::{Call, answer},
    },
    maps::KCHAOS_ASKED,
};

/// `inode_getattr(path)`. overlayfs asks once more about the file below.
#[inline(always)]
pub fn stat(ctx: &LsmContext) -> i32 {
    answer(hook::STAT, previous(ctx, 1), |scope| {
        if caller::acts_for_another() {
            return None;
        }
        of(scope, pointer(ctx, 0).follow(offset!(path_dentry))?)
    })
}

/// The same: notes the inode's address if user space looks for it. The first answer is the file that it sees.
#[inline(always)]
pub fn find(ctx: &LsmContext) -> i32 {
    let before = previous(ctx, 1);
    let inode = || pointer(ctx, 0).follow(offset!(path_dentry))?.follow(offset!(dentry_inode));
    if let Some(asked) = KCHAOS_ASKED.get_ptr_mut(0) {
        // SAFETY: the entry of a map.
        unsafe {
            if (*asked).who == caller::thread() && (*asked).inode == 0 {
                (*asked).inode = inode().map_or(0, Known::address);
            }
        }
    }
    if (-4095..=0).contains(&before) { before } else { 0 }
}

/// `path_unlink(dir, dentry)`.
#[inline(always)]
pub fn unlink(ctx: &LsmContext) -> i32 {
    answer(hook::UNLINK, previous(ctx, 2), |scope| of(scope, pointer(ctx, 1)))
}

/// `path_mkdir(dir, dentry, mode)`.
#[inline(always)]
pub fn mkdir(ctx: &LsmContext) -> i32 {
    answer(hook::MKDIR, previous(ctx, 3), |scope| of(scope, pointer(ctx, 1)))
}

/// `path_rename(old_dir, old_dentry, new_dir, new_dentry, ...)` with so many arguments: it is about the old place and the
/// new one.
#[inline(always)]
pub fn rename(ctx: &LsmContext, arguments: usize) -> i32 {
    answer(hook::RENAME, previous(ctx, arguments), |scope| {
        let (old, new) = (pointer(ctx, 1), pointer(ctx, 3));
        Some(Call::with(file::of_dentry(scope, old)? | file::of_dentry(scope, new)?))
    })
}

/// `path_truncate(path)`.
#[inline(always)]
pub fn truncate(ctx: &LsmContext) -> i32 {
    answer(hook::TRUNCATE, previous(ctx, 1), |scope| of(scope, pointer(ctx, 0).follow(offset!(path_dentry))?))
}

#[inline(always)]
fn of(scope: &Scope, dentry: Known) -> Option<Call> {
    Some(Call::with(file::of_dentry(scope, dentry)?))
}
