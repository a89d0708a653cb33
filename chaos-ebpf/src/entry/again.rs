//! The beginning and the end of system calls that ask about their files more than once: sendfile(2),
//! `copy_file_range(2)`, splice(2).

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use crate::lib::syscall;

/// Such a call begins.
#[fentry(function = "sendfile")]
pub fn kchaos_again_begins(_ctx: FEntryContext) -> i32 {
    syscall::begin();
    0
}

/// It ends.
#[fexit(function = "sendfile")]
pub fn kchaos_again_ends(_ctx: FExitContext) -> i32 {
    syscall::end();
    0
}
