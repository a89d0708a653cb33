//! `reset`: the connection is cut. Both ends get a reset in the name of the other one, so that both applications hear of it
//! at once, whichever way the packet went that shows the connection.

use aya_ebpf::bindings::__sk_buff;
use chaos_common::rule::action;

use crate::lib::{
    kern,
    reply::{self, ACK, RST, SYN, Segment, outcome},
    skb::Skb,
    what::What,
};

/// Cuts the connection of a packet: one of [`outcome`]. A global function (see [`crate::lib`]).
///
/// A reset counts only if its sequence number is the very next that its receiver expects (RFC 5961, 3.2). That is the
/// packet's own to whoever it is for, as what was sent before has arrived before; and to its sender what it acknowledges.
/// What has been received already is sent again, and a probe is one byte behind (keep-alive, window): so there is a second
/// reset, for what follows the packet. Whoever has taken the first does not know the second.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_cut(skb: *mut __sk_buff, what: u32) -> u32 {
    if !kern::uses(1 << action::RESET) {
        return outcome::UNTOUCHED;
    }
    let (skb, what) = (&Skb::from(skb), What::from(what));
    let (way, transport) = (what.way(), what.transport());
    let Some(segment) = Segment::of(skb, transport) else { return outcome::UNTOUCHED };
    // What is made of a piece would be one, too, and wait for the others.
    if segment.has(RST) || what.is_piece() {
        return outcome::UNTOUCHED;
    }
    reply::mark(skb);
    // Who is asked for a connection knows nothing of it yet.
    let is_request = segment.has(SYN) && !segment.has(ACK);
    let behind = segment.end().wrapping_add((segment.end() == segment.seq).into());
    let told =
        is_request || forward(skb, what, segment.seq, segment.ack) && forward(skb, what, behind, segment.ack);
    match reply::refuse(skb, way, transport, &segment) {
        outcome::DONE if told => outcome::DONE,
        _ => outcome::SPOILT,
    }
}

/// Sends a reset on to where the packet goes.
#[inline(always)]
fn forward(skb: &Skb, what: What, seq: u32, ack: u32) -> bool {
    reply::kchaos_write_rst(skb.context(), what.transport(), seq, ack, (RST | ACK).into()) != 0
        && reply::send(skb, what.way(), false)
}
