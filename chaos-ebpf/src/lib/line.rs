//! The delay line: how a packet gets in, and out again. Its layout is in [`chaos_common::line`].
//!
//! What must stay true: a packet that does not get in is as it was before; one that comes out is as it was when it went
//! in, and goes on exactly where it was taken away. What is in the table of waiting packets has not come out (yet).

use aya_ebpf::{
    bindings::{BPF_NOEXIST, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::{
        bpf_clone_redirect, bpf_redirect, bpf_redirect_peer, bpf_set_hash, bpf_set_hash_invalid,
        bpf_skb_change_type, bpf_skb_store_bytes,
    },
};
use chaos_common::{
    counters::Skip,
    draw::mix,
    lateness,
    line::{BYTES_IN, BYTES_LOST, BYTES_OUT, LATENESS, WAY_IN, Waiting, id, stamp},
    scope::Scope,
};

use super::{count, kern, order, skb::Skb};
use crate::maps::{KCHAOS_LINE, KCHAOS_NUMBER, KCHAOS_WAITING};

/// Length of an Ethernet header; its addresses are all but two bytes of it.
const ETHERNET: u32 = 14;
const ADDRESSES: u32 = 12;

/// Writes a packet down as waiting until `release` (ns on the monotonic clock), so that it can be sent into the line.
pub fn check_in(scope: &Scope, skb: &Skb, release: u64, connection: u64, way: u32) -> Result<(), Skip> {
    if scope.line == 0 || skb.network_offset() != ETHERNET {
        return Err(Skip::Failed);
    }
    let length = skb.length();
    let gone = total(BYTES_OUT).wrapping_add(total(BYTES_LOST));
    if total(BYTES_IN).wrapping_sub(gone).wrapping_add(u64::from(length)) > scope.line_bytes {
        return Err(Skip::Overflow);
    }
    let mut packet = Waiting {
        addresses: [0; 2],
        release,
        connection,
        length,
        device: skb.device(),
        mark: skb.mark(),
        priority: skb.priority(),
        tag: skb.tag(),
        way,
        parts: u64::from(skb.segments()),
    };
    let Some(addresses) = skb.start() else { return Err(Skip::Failed) };
    packet.addresses = addresses;
    let number = next_number();
    if KCHAOS_WAITING.insert(number, packet, u64::from(BPF_NOEXIST)).is_err() {
        return Err(Skip::Overflow);
    }
    if !write_start(skb, stamp(number, release)) {
        let _gone = KCHAOS_WAITING.remove(number);
        return Err(Skip::Failed);
    }
    // fq tells flows apart by the hash, and holds one back as a whole: a packet that is due earlier than the first waits
    // with it. So a flow is what keeps its order anyway, or one packet.
    let flow = if connection == 0 { u64::from(number) } else { connection };
    // SAFETY: a helper on the program's packet.
    unsafe { bpf_set_hash(skb.context(), mix(flow) as u32) };
    add(BYTES_IN, u64::from(length));
    order::count(connection, 1);
    Ok(())
}

/// The same for the packet of which a copy has just been sent into the line: only its number must be another.
#[inline(always)]
pub fn check_in_copy(skb: &Skb) -> bool {
    let Some(start) = skb.start() else { return false };
    // SAFETY: it is copied at once; should the copy be out already, what it was is still the same.
    let Some(packet) = (unsafe { KCHAOS_WAITING.get(id_of(start)) }) else { return false };
    let (packet, number) = (*packet, next_number());
    if KCHAOS_WAITING.insert(number, packet, u64::from(BPF_NOEXIST)).is_err() {
        return false;
    }
    if !write_start(skb, stamp(number, release_of(start))) {
        let _gone = KCHAOS_WAITING.remove(number);
        return false;
    }
    add(BYTES_IN, u64::from(packet.length));
    order::count(packet.connection, 1);
    true
}

/// Sends a packet that was written down into the line. `false`: there is no line, and the packet is as it was before.
///
/// A *copy* waits, because it belongs to no socket: TCP counts what its socket still has in queues of this host, and
/// would stop sending. The packet itself has to be lost by the program.
pub fn send(scope: &Scope, skb: &Skb) -> bool {
    // SAFETY: a helper on the program's packet. Less than 0: it did not get there. What a queue says is more than that.
    if unsafe { bpf_clone_redirect(skb.context(), scope.line, 0) } >= 0 {
        return true;
    }
    let Some(start) = skb.start() else { return true };
    // SAFETY: it is copied at once, and nobody else has this number.
    let Some(packet) = (unsafe { KCHAOS_WAITING.get(id_of(start)) }) else { return true };
    let packet = *packet;
    forget(id_of(start), &packet);
    // SAFETY: as above.
    unsafe { bpf_set_hash_invalid(skb.context()) };
    !restore(skb, &packet)
}

/// The packet waits no longer. Whoever forgets it counts it, and nobody else does.
#[inline(always)]
fn forget(number: u32, packet: &Waiting) {
    if KCHAOS_WAITING.remove(number).is_ok() {
        add(BYTES_OUT, u64::from(packet.length));
        order::count(packet.connection, u64::MAX);
    }
}

/// Puts the link-layer addresses back.
#[inline(always)]
fn restore(skb: &Skb, packet: &Waiting) -> bool {
    let [first, second] = packet.addresses;
    write_start(skb, [first as u32, (first >> 32) as u32, second as u32])
}

/// Before the queue of the line in the kernel: says when the packet is due.
#[inline(always)]
pub fn hold(skb: &Skb) -> i32 {
    let Some(start) = skb.start() else { return TC_ACT_SHOT };
    skb.set_time(release_of(start));
    TC_ACT_UNSPEC
}

/// At the far end of the line in the kernel: the packet is taken for one that the near end has received.
#[inline(always)]
pub fn back(skb: &Skb) -> i32 {
    // SAFETY: a plain helper call.
    unsafe { bpf_redirect_peer(skb.device(), 0) as i32 }
}

/// Out of the line: the packet goes on where it was taken away.
#[inline(always)]
pub fn check_out(skb: &Skb) -> i32 {
    const INGRESS: u64 = 1;
    const PACKET_HOST: u32 = 0;
    let Some(start) = skb.start() else { return TC_ACT_SHOT };
    let number = id_of(start);
    let Some(packet) = KCHAOS_WAITING.get_ptr_mut(number) else {
        // Given up as lost, or never ours.
        return TC_ACT_SHOT;
    };
    // SAFETY: the entry of a map, which stays readable until we return, whoever forgets it meanwhile. Other parts of the
    // same packet may come out at the same time: all that they change is how many are left.
    let (packet, last) = unsafe {
        // A part is shorter than the whole.
        let whole = skb.length() >= (&raw const (*packet).length).read_volatile();
        count::add(&raw mut (*packet).parts, u64::MAX);
        let parts = (&raw const (*packet).parts).read_volatile();
        (packet.read_volatile(), whole || parts == 0 || parts > u64::MAX / 2)
    };
    if !restore(skb, &packet) {
        return TC_ACT_SHOT;
    }
    if last {
        forget(number, &packet);
    }
    learn(packet.release);
    skb.set_time(0);
    skb.set_mark(packet.mark);
    skb.set_priority(packet.priority);
    skb.set_tag(packet.tag);
    let flags = if packet.way == WAY_IN { INGRESS } else { 0 };
    // SAFETY: helpers on the program's packet. Its link-layer address was another device's on the way, so the kernel
    // took it for someone else's.
    unsafe {
        bpf_set_hash_invalid(skb.context());
        bpf_skb_change_type(skb.context(), PACKET_HOST);
        bpf_redirect(packet.device, flags) as i32
    }
}

/// What stands in the place of the addresses.
#[inline(always)]
const fn id_of([first, _]: [u64; 2]) -> u32 {
    first as u32
}

/// Likewise.
#[inline(always)]
const fn release_of([first, second]: [u64; 2]) -> u64 {
    first >> 32 | second << 32
}

/// Writes the place of the addresses.
#[inline(always)]
fn write_start(skb: &Skb, words: [u32; 3]) -> bool {
    // SAFETY: twelve bytes of ours.
    unsafe { bpf_skb_store_bytes(skb.context(), 0, words.as_ptr().cast(), ADDRESSES, 0) == 0 }
}

#[inline(always)]
fn next_number() -> u32 {
    let Some(count) = KCHAOS_NUMBER.get_ptr_mut(0) else { return 0 };
    // SAFETY: the entry of a map of this CPU, which only tc programs use.
    let count = unsafe {
        let before = count.read_volatile();
        count.write_volatile(before.wrapping_add(1));
        before
    };
    id(kern::cpu(), count)
}

#[inline(always)]
fn total(number: u32) -> u64 {
    // SAFETY: the entry of a map. Volatile: other CPUs add to it.
    KCHAOS_LINE.get_ptr(number).map_or(0, |total| unsafe { total.read_volatile() })
}

/// By how much packets come out later than they were asked back, in ns.
#[inline(always)]
pub fn lateness() -> u64 {
    total(LATENESS)
}

/// Learns from a packet that comes out now. Others may learn at the same time, and it does no harm if one of them is lost.
#[inline(always)]
fn learn(release: u64) {
    if let Some(known) = KCHAOS_LINE.get_ptr_mut(LATENESS) {
        let late = kern::monotonic_ns().saturating_sub(release);
        // SAFETY: the entry of a map. Volatile: other CPUs write it, too.
        unsafe { known.write_volatile(lateness::learn(known.read_volatile(), late)) }
    }
}

#[inline(always)]
fn add(number: u32, much: u64) {
    if let Some(total) = KCHAOS_LINE.get_ptr_mut(number) {
        // SAFETY: the entry of a map, aligned to 8 bytes.
        unsafe { count::add(total, much) }
    }
}
