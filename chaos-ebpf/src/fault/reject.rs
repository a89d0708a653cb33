//! `reject`: the packet is lost, and its sender is told at once: by a reset, or by an ICMP error. Where nobody may be told
//! (groups of receivers, later fragments, what is an error or a reset itself, half a header) it is lost in silence, as by
//! nftables.

use aya_ebpf::bindings::__sk_buff;
use chaos_common::{
    reject::{WITH, code},
    rule::{Rule, action},
};

use crate::lib::{
    icmp, kern,
    parse::TCP,
    reply::{self, RST, Segment, outcome},
    skb::Skb,
    what::What,
};

/// Answers a packet: one of [`outcome`].
#[inline(always)]
pub fn answer(skb: &Skb, rule: &Rule, what: What) -> u32 {
    if what.protocol() == TCP {
        kchaos_refuse_segment(skb.context(), what.number())
    } else {
        let code = u32::from_ne_bytes(code(rule.numbers[WITH]));
        kchaos_refuse_datagram(skb.context(), what.number(), code)
    }
}

/// A global function (see [`crate::lib`]), like the next one.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_refuse_segment(skb: *mut __sk_buff, what: u32) -> u32 {
    if !kern::uses(1 << action::REJECT) {
        return outcome::UNTOUCHED;
    }
    let (skb, what) = (&Skb::from(skb), What::from(what));
    match Segment::of(skb, what.transport()) {
        // What is made of a piece would be one, too, and wait for the others.
        Some(segment) if !segment.has(RST) && !what.is_piece() => {
            reply::mark(skb);
            reply::refuse(skb, what.way(), what.transport(), &segment)
        }
        _ => outcome::DONE,
    }
}

/// `code`: `chaos_common::reject::Code`, as it lies in memory.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_refuse_datagram(skb: *mut __sk_buff, what: u32, code: u32) -> u32 {
    if !kern::uses(1 << action::REJECT) {
        return outcome::UNTOUCHED;
    }
    let (skb, what) = (&Skb::from(skb), What::from(what));
    if icmp::is_unanswerable(skb, what.protocol(), what.transport()) {
        return outcome::DONE;
    }
    reply::mark(skb);
    let answered = icmp::kchaos_write_unreachable(skb.context(), what.transport(), code) != 0
        && reply::send(skb, what.way(), true);
    if answered { outcome::DONE } else { outcome::SPOILT }
}
