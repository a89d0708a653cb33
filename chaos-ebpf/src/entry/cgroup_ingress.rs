//! `cgroup_skb` ingress: packets that arrive at a socket of the target. It runs after the kernel has found the socket, so
//! the attribution is exact in every network namespace, for listeners and half-open connections too.

use aya_ebpf::{macros::cgroup_skb, programs::SkBuffContext};

use crate::lib::{packet, skb::Skb};

/// 1 lets the packet pass.
#[cgroup_skb(ingress)]
pub fn kchaos_ingress(ctx: SkBuffContext) -> i32 {
    packet::ingress(&Skb::from(&ctx)).unwrap_or(1)
}
