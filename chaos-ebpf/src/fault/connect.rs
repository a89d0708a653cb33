//! `connect`: the call fails with the errno that the rule names.

use aya_ebpf::helpers::generated::bpf_set_retval;

use crate::lib::kern;

/// Makes the current call fail with `errno` (1..=133). `None`: the kernel would not take the errno.
///
/// Without a return value of its own a denied call fails with EPERM, which is also all that kernels before 5.18 can do.
#[inline(always)]
pub fn fail(errno: u32) -> Option<i32> {
    const DENY: i32 = 0;
    const EPERM: u32 = 1;
    const MAX_ERRNO: u32 = 4095;
    // Linux 7.2 wants it proven that the value is an errno.
    if errno == 0 || errno > MAX_ERRNO {
        return None;
    }
    if errno == EPERM {
        return Some(DENY);
    }
    if !kern::sets_retval() {
        return None;
    }
    // SAFETY: a plain helper call.
    let refused = unsafe { bpf_set_retval(-(errno as i32)) };
    if refused == 0 { Some(DENY) } else { None }
}
