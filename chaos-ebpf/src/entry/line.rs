//! The delay line's own devices: where packets go in, at the far end of a veth pair, and where they come out again.

use aya_ebpf::{macros::classifier, programs::TcContext};

use crate::lib::{line, skb::Skb};

/// tc ingress of the far end: back.
#[classifier]
pub fn kchaos_line_back(ctx: TcContext) -> i32 {
    line::back(&Skb::from(&ctx))
}

/// tc egress of the device in the target's namespace, before its queue.
#[classifier]
pub fn kchaos_line_wait(ctx: TcContext) -> i32 {
    line::hold(&Skb::from(&ctx))
}

/// tc ingress of the device in the target's namespace.
#[classifier]
pub fn kchaos_line_exit(ctx: TcContext) -> i32 {
    line::check_out(&Skb::from(&ctx))
}
