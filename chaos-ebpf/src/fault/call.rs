//! `call`: the call fails with the errno that the rule names, before the kernel has done anything of it.

use crate::lib::kern;

/// What a hook answers so that its call fails with `errno` (1..=133). Anything else lets it go on: a kernel before 6.12
/// would take it for a success.
#[inline(always)]
pub fn fail(errno: u32) -> i32 {
    const LAST: u32 = 133;
    const BITS: u64 = 0xff;
    if errno > LAST {
        return 0;
    }
    // Linux 6.12 wants it proven that the answer is an errno: by the bits that are left.
    -((kern::opaque(u64::from(errno)) & BITS) as i32)
}
