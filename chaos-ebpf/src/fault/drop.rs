//! `drop`: the packet is lost, and its sender believes that it was sent.

use aya_ebpf::{bindings::TC_ACT_SHOT, helpers::generated::bpf_redirect};

/// Loses a packet on its way out.
///
/// The plain answer, `TC_ACT_SHOT`, makes `dev_queue_xmit` return `NET_XMIT_DROP`: TCP then takes the segment as never
/// sent and stops, a local congestion signal and no packet loss at all. netem answers `NET_XMIT_SUCCESS` for a packet
/// it loses. `TC_ACT_STOLEN` would too, but tcx knows no such verdict. A redirect to a device that cannot exist is
/// freed by the kernel and reported as success by both tcx and clsact, on every kernel (`sch_handle_egress`,
/// `net/core/dev.c`).
#[inline(always)]
pub fn egress() -> i32 {
    const NO_DEVICE: u32 = 0;
    // SAFETY: a plain helper call; it only notes the device for the caller of the program.
    unsafe { bpf_redirect(NO_DEVICE, 0) as i32 }
}

/// Loses a packet that arrives at a device: nobody on this host hears of it.
#[inline(always)]
pub const fn arrival() -> i32 {
    TC_ACT_SHOT
}

/// Loses a packet on its way in: a cgroup program's 0 frees it silently.
#[inline(always)]
pub const fn ingress() -> i32 {
    0
}
