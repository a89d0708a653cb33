//! Which connection a packet belongs to, and whether it has begun while the experiment ran. Looked at only if a rule
//! asks for it.

use chaos_common::{
    flow::{UNKNOWN, between, end},
    scope::{FLAG_FLOWS, FLAG_NEW_FLOWS, Scope},
};

use super::{
    parse::{Headers, TCP},
    skb::Skb,
};
use crate::maps::KCHAOS_FLOWS;

/// A packet's connection.
pub struct Flow {
    /// As `chaos_common::flow` names it; [`UNKNOWN`] if nobody asks, or if its ports are in another fragment.
    pub id: u64,
    /// Whether its first packet was seen here.
    pub new: bool,
    /// Which of its two ends the packet comes from.
    pub from_the_greater: bool,
}

/// The connection of a packet of the target. Every packet must come by here that may be the first of its connection.
#[inline(always)]
pub fn of_packet(scope: &Scope, skb: &Skb, headers: &Headers) -> Flow {
    if scope.flags & (FLAG_FLOWS | FLAG_NEW_FLOWS) == 0 {
        return Flow { id: UNKNOWN, new: false, from_the_greater: false };
    }
    let transport = headers.transport;
    if transport.is_elsewhere() {
        return Flow { id: UNKNOWN, new: false, from_the_greater: false };
    }
    let one = end(headers.source.words, transport.source());
    let other = end(headers.destination.words, transport.destination());
    let (id, from_the_greater) = (between(one, other, transport.protocol()), one > other);
    if scope.flags & FLAG_NEW_FLOWS == 0 || transport.protocol() != TCP {
        return Flow { id, new: false, from_the_greater };
    }
    if begins(skb, transport.offset()) {
        // If there is no room, the connection counts as an old one: it is left alone.
        let new = KCHAOS_FLOWS.insert(id, 1, 0).is_ok();
        return Flow { id, new, from_the_greater };
    }
    // SAFETY: the value is not used, only whether there is one.
    Flow { id, new: unsafe { KCHAOS_FLOWS.get(id) }.is_some(), from_the_greater }
}

/// SYN, or the SYN-ACK that answers it, which is all that a program for one direction sees of the other end's SYN.
#[inline(always)]
fn begins(skb: &Skb, tcp: u32) -> bool {
    const FLAGS: u32 = 13;
    const SYN: u8 = 0x02;
    skb.load::<1>(tcp + FLAGS).is_some_and(|[flags]| flags & SYN != 0)
}
