//! `duplicate`: the packet goes out twice.

use aya_ebpf::helpers::generated::bpf_clone_redirect;
use chaos_common::line::WAY_IN;

use crate::lib::kern::Skb;

/// Sends a copy on: into `device`, on its way out or in. The copy carries the marks of a packet that was judged.
#[inline(always)]
pub fn send(skb: &Skb, device: u32, way: u32) -> bool {
    const INGRESS: u64 = 1;
    let flags = if way == WAY_IN { INGRESS } else { 0 };
    // SAFETY: a helper on the program's packet.
    unsafe { bpf_clone_redirect(skb.context(), device, flags) == 0 }
}
