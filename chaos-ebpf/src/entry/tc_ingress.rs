//! tc ingress: packets that arrive for the target, on every device of its network namespaces.

use aya_ebpf::{bindings::TC_ACT_UNSPEC, macros::classifier, programs::TcContext};

use crate::lib::{packet, skb::Skb};

/// Answers "no opinion" for all that is not hit, as `kchaos_egress` does.
#[classifier]
pub fn kchaos_arrival(ctx: TcContext) -> i32 {
    packet::arrival(&Skb::from(&ctx)).unwrap_or(TC_ACT_UNSPEC)
}
