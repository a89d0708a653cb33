//! The lives of connections: since when each is known, and what it has carried. Looked at only if a rule asks for it.
//!
//! A connection that there was no room for is a new one when it comes again: it is cut late, or not at all, and never by
//! mistake.

use aya_ebpf::bindings::__sk_buff;
use chaos_common::{
    flow::UNKNOWN,
    reset::{Life, carried},
    scope::{FLAG_LIFE, Scope, noted},
    uses,
};

use super::{
    count, kern,
    parse::TCP,
    plan,
    reply::{ACK, SYN, Segment},
    skb::Skb,
    what::What,
};
use crate::maps::KCHAOS_LIFE;

/// Tells the plan about the connection of the packet at hand.
#[inline(always)]
pub fn note(scope: &Scope, skb: &Skb, flow: u64, what: What) {
    if kern::uses(uses::LIFE) && scope.flags & FLAG_LIFE != 0 && flow != UNKNOWN && what.protocol() == TCP {
        kchaos_note_life(skb.context(), flow, what.number());
    }
}

/// See [`note`]. A global function (see [`super`]).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_note_life(skb: *mut __sk_buff, flow: u64, what: u32) -> u32 {
    if !kern::uses(uses::LIFE) {
        return 0;
    }
    let (skb, what) = (&Skb::from(skb), What::from(what));
    let Some(segment) = Segment::of(skb, what.transport()) else { return 0 };
    let now = kern::boot_ns();
    let sender = u64::from(what.is_from_the_greater());
    let begin = segment.seq.wrapping_add(segment.has(SYN).into());
    let life = KCHAOS_LIFE.get_ptr(flow);
    let known = life.is_some();
    // A port that is used again makes another connection of the same name. Where only answers are seen, it is told by the
    // other number that they begin with.
    let begins = segment.has(SYN) && life.is_none_or(|life| !segment.has(ACK) || next(life, sender) != begin);
    if begins || !known {
        let newborn = Life { since: now, ..Life::default() };
        if KCHAOS_LIFE.insert(flow, newborn, 0).is_err() {
            return 0;
        }
    }
    if !known {
        count::noted(noted::LIFE);
    }
    let Some(life) = KCHAOS_LIFE.get_ptr_mut(flow) else { return 0 };
    let (sent, fresh) = advance(life, sender, begin, begin.wrapping_add(segment.data));
    let acked = if segment.has(ACK) { advance(life, 1 - sender, segment.ack, segment.ack) } else { (0, 0) };
    // SAFETY: the entry of a map.
    let since = unsafe { (&raw const (*life).since).read_volatile() };
    // What is acknowledged has been delivered: nothing of it is lost with this packet. The last of it may be no byte, but the
    // end (FIN).
    let acked = acked.0.saturating_sub(1);
    let (carried, fresh) = if sent > acked { (sent, fresh) } else { (acked, 0) };
    plan::set_life(since, carried, fresh);
    0
}

/// The sequence number after what an end has sent.
#[inline(always)]
fn next(life: *const Life, end: u64) -> u32 {
    let number = kern::opaque(end) & 1;
    // SAFETY: the entry of a map, and one of two. Volatile: other CPUs may write it, too.
    unsafe { (&raw const (*life).next).cast::<u32>().add(number as usize).read_volatile() }
}

/// How many bytes an end has sent, by a sign of it, and how many of them are new. Volatile: other CPUs may write it, too, and a packet that comes in
/// between counts a little later.
#[inline(always)]
fn advance(life: *mut Life, end: u64, from: u32, to: u32) -> (u64, u64) {
    let number = kern::opaque(end) & 1;
    // SAFETY: the entry of a map, and one of two.
    unsafe {
        let bytes = (&raw mut (*life).bytes).cast::<u64>().add(number as usize);
        let next = (&raw mut (*life).next).cast::<u32>().add(number as usize);
        let known = (&raw const (*life).known).read_volatile();
        let before = bytes.read_volatile();
        let (now, after) = carried(before, next.read_volatile(), known >> number & 1 != 0, from, to);
        bytes.write_volatile(now);
        next.write_volatile(after);
        (&raw mut (*life).known).write_volatile(known | 1 << number);
        (now, now.wrapping_sub(before))
    }
}
