//! What a call is about: a file, and where it lies.

use chaos_common::{
    call::{MAX_DEPTH, MODE_SHIFT},
    scope::{FLAG_FILE_TYPES, FLAG_OURS_SPARED, FLAG_PATHS, Scope},
};

use super::{
    kern,
    offset::{Known, offset},
};
use crate::maps::{KCHAOS_FILETYPES, KCHAOS_INODES, KCHAOS_OWN};

/// `FMODE_NOACCOUNT` (`include/linux/fs.h`): opened by the kernel for itself. overlayfs opens the files below so that
/// it shows, and whoever reads from it was asked already.
const OF_THE_KERNEL: u32 = 0x2000_0000;

/// `__FMODE_EXEC` (`include/linux/fs.h`): opened to be run.
const TO_BE_RUN: u32 = 0x20;

/// Whether nobody but the kernel has this file open.
#[inline(always)]
pub fn is_of_the_kernel(file: Known) -> bool {
    file.read::<u32>(offset!(file_mode)) & OF_THE_KERNEL != 0
}

/// Whether a file is being opened to be run.
#[inline(always)]
pub fn is_to_be_run(file: Known) -> bool {
    file.read::<u32>(offset!(file_flags)) & TO_BE_RUN != 0
}

/// Whether this is the program of the engine that runs the experiment: it must be possible to start it once more, for
/// `kchaos halt`. (In a demonstration its own program is the target.)
#[inline(always)]
pub fn is_spared(scope: &Scope, inode: u64) -> bool {
    scope.flags & FLAG_OURS_SPARED != 0 && KCHAOS_OWN.get(0).is_some_and(|own| inode != 0 && *own == inode)
}

/// The facts that hold for an open file; `None` if it is our program.
#[inline(always)]
pub fn facts(scope: &Scope, file: Known) -> Option<u64> {
    let dentry = || file.inside(offset!(file_path)).follow(offset!(path_dentry));
    of(scope, file.follow(offset!(file_inode)), dentry)
}

/// The same for a dentry.
#[inline(always)]
pub fn of_dentry(scope: &Scope, dentry: Known) -> Option<u64> {
    of(scope, dentry.follow(offset!(dentry_inode)), || Some(dentry))
}

#[inline(always)]
fn of(scope: &Scope, inode: Option<Known>, dentry: impl FnOnce() -> Option<Known>) -> Option<u64> {
    let mut facts = 0;
    if let Some(inode) = inode {
        if is_spared(scope, inode.address()) {
            return None;
        }
        if scope.flags & FLAG_FILE_TYPES != 0 {
            facts |= of_type(inode);
        }
    }
    if scope.flags & FLAG_PATHS != 0
        && let Some(dentry) = dentry()
    {
        facts |= below(dentry);
    }
    Some(facts)
}

/// The facts that the type of a file settles.
#[inline(always)]
fn of_type(inode: Known) -> u64 {
    let mode = inode.read::<u16>(offset!(inode_mode));
    let kind = kern::opaque(u64::from(mode)) >> MODE_SHIFT & 15;
    KCHAOS_FILETYPES.get(0).and_then(|types| types.facts.get(kind as usize)).copied().unwrap_or(0)
}

/// What rules name of the places that a file lies in: itself and every directory above it, up to the root of its mount's
/// file system.
#[inline(always)]
fn below(dentry: Known) -> u64 {
    let (mut at, mut facts, mut rounds) = (dentry, 0, 0);
    loop {
        if let Some(inode) = at.follow(offset!(dentry_inode)) {
            // SAFETY: a plain number, which is read once.
            facts |= unsafe { KCHAOS_INODES.get(inode.address()) }.copied().unwrap_or(0);
        }
        let Some(parent) = at.follow(offset!(dentry_parent)) else { return facts };
        rounds += 1;
        if parent.address() == at.address() || rounds == MAX_DEPTH {
            return facts;
        }
        at = parent;
    }
}
