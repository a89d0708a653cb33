//! A line for every injection, with the cargo feature `kernel-log` only: for debugging the programs themselves. One line
//! costs the verifier a hundred times what the decision costs, so a release is built without.

use aya_ebpf::EbpfContext;

/// Notes that rule `index` hit a packet or call.
#[cfg(feature = "kernel-log")]
#[inline(always)]
pub fn injected(ctx: &impl EbpfContext, index: u32) {
    aya_log_ebpf::info!(ctx, "rule {} hit", index);
}

/// Nothing.
#[cfg(not(feature = "kernel-log"))]
#[inline(always)]
pub fn injected(_ctx: &impl EbpfContext, _index: u32) {}
