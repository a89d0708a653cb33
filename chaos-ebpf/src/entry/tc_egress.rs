//! tc egress: packets that the target sends, on every device of its network namespaces.

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};

use crate::lib::{packet, skb::Skb};

/// Answers "no opinion" (`TC_ACT_UNSPEC`, the same number as `TCX_NEXT`) for all that is not hit, so that programs and
/// queues behind it see the packet as if we were not there.
#[classifier]
pub fn kchaos_egress(ctx: TcContext) -> i32 {
    packet::egress(&Skb::from(&ctx)).unwrap_or(TC_ACT_UNSPEC)
}
