//! `duplicate`: the packet goes out twice.

use chaos_common::line::WAY_IN;

use crate::lib::skb::Skb;

/// Sends a copy on from where the packet is, out or in. The copy carries the marks of a packet that was judged.
#[inline(always)]
pub fn send(skb: &Skb, way: u32) -> bool {
    skb.send_copy(way == WAY_IN)
}
