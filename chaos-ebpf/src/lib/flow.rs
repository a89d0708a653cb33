//! Which connection a packet belongs to, and whether it has begun while the experiment ran. Looked at only if a rule
//! asks for it.

use chaos_common::{
    flow::{UNKNOWN, between, end},
    scope::{FLAG_FLOWS, FLAG_NEW_FLOWS, FLAG_RESETS, Scope, noted},
};

use super::{
    count,
    headers::Headers,
    parse::TCP,
    reply::{RST, SYN},
    skb::Skb,
};
use crate::maps::KCHAOS_FLOWS;

/// A packet's connection.
pub struct Flow {
    /// As `chaos_common::flow` names it; [`UNKNOWN`] if nobody asks, or if its ports are in another fragment.
    pub id: u64,
    /// Whether its first packet was seen here.
    pub new: bool,
    /// Whether the packet ends it: a reset. Looked at only if a rule cuts connections.
    pub ends: bool,
    /// Which of its two ends the packet comes from.
    pub from_the_greater: bool,
}

/// Of a packet that nothing is known of.
const NONE: Flow = Flow { id: UNKNOWN, new: false, ends: false, from_the_greater: false };

/// The connection of a packet of the target. Every packet must come by here that may be the first of its connection.
#[inline(always)]
pub fn of_packet(scope: &Scope, skb: &Skb, headers: &Headers) -> Flow {
    if scope.flags & (FLAG_FLOWS | FLAG_NEW_FLOWS | FLAG_RESETS) == 0 {
        return NONE;
    }
    let transport = headers.transport;
    if transport.is_elsewhere() {
        return NONE;
    }
    let is_tcp = transport.protocol() == TCP;
    let ends = scope.flags & FLAG_RESETS != 0 && is_tcp && has_flag(skb, transport.offset(), RST);
    let one = end(headers.source.words, transport.source());
    let other = end(headers.destination.words, transport.destination());
    let (id, from_the_greater) = (between(one, other, transport.protocol()), one > other);
    if scope.flags & FLAG_NEW_FLOWS == 0 || !is_tcp {
        return Flow { id, new: false, ends, from_the_greater };
    }
    // SYN, or the SYN-ACK that answers it, which is all that a program for one direction sees of the other end's SYN.
    if has_flag(skb, transport.offset(), SYN) {
        // If there is no room, the connection counts as an old one: it is left alone.
        // SAFETY: the value is not used, only whether there is one.
        let known = unsafe { KCHAOS_FLOWS.get(id) }.is_some();
        let new = KCHAOS_FLOWS.insert(id, 1, 0).is_ok();
        if new && !known {
            count::noted(noted::NEW);
        }
        return Flow { id, new, ends, from_the_greater };
    }
    // SAFETY: the value is not used, only whether there is one.
    Flow { id, new: unsafe { KCHAOS_FLOWS.get(id) }.is_some(), ends, from_the_greater }
}

#[inline(always)]
fn has_flag(skb: &Skb, tcp: u32, flag: u8) -> bool {
    const FLAGS: u32 = 13;
    skb.load::<1>(tcp + FLAGS).is_some_and(|[flags]| flags & flag != 0)
}
