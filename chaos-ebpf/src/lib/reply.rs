//! Answers, made of the packet that they answer: it is cut down to its headers, turned round and sent back, as a TCP reset
//! ([`kchaos_write_rst`]) or in an ICMP error ([`super::icmp`]). The packet itself is lost afterwards.
//!
//! Packets come with checksums in four states, and no helper says in which (`include/linux/skbuff.h`). One that a device
//! has yet to make up (`CHECKSUM_PARTIAL`) has the pseudo header's sum in the field; all others must have the whole. The
//! helper that changes a checksum leaves the former alone, so it is called with the difference between the two.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_l3_csum_replace, bpf_l4_csum_replace},
};
use chaos_common::{
    checksum::{fold, pseudo},
    line::WAY_IN,
    rule::action,
};

use super::{
    act::LO,
    judge, kern, parse,
    parse::{ETHERTYPE_IPV6, TCP},
    skb::Skb,
};

/// Flags of a TCP segment (RFC 9293).
pub const FIN: u8 = 1 << 0;
/// Likewise.
pub const SYN: u8 = 1 << 1;
/// Likewise.
pub const RST: u8 = 1 << 2;
/// Likewise.
pub const ACK: u8 = 1 << 4;

/// Length of a TCP header without options.
const TCP_HEADER: u32 = 20;
/// Where the checksum is in it.
const CHECKSUM: u32 = 16;
/// The hop limit of answers: that of any packet that Linux sends.
pub const HOPS: u8 = 64;

/// What became of the packet that was to be answered.
pub mod outcome {
    /// It is as it was.
    pub const UNTOUCHED: u32 = 0;
    /// It is to be lost, and was answered if anybody is to be told.
    pub const DONE: u32 = 1;
    /// It is no longer what it was, and nobody got an answer.
    pub const SPOILT: u32 = 2;
}

/// What a TCP header says.
#[derive(Clone, Copy)]
pub struct Segment {
    /// Sequence number of its first byte, or of its SYN.
    pub seq: u32,
    /// What it acknowledges, if it has [`ACK`].
    pub ack: u32,
    /// Bytes of data.
    pub data: u32,
    /// [`FIN`] and the others.
    pub flags: u8,
}

impl Segment {
    /// That of a packet, of which nobody else has made sure that it is complete.
    #[inline(always)]
    pub fn of(skb: &Skb, transport: u32) -> Option<Self> {
        const DATA_AND_FLAGS: u32 = 12;
        if transport == 0 {
            return None;
        }
        let [numbers, acked]: [[u8; 4]; 2] = [skb.load(transport + 4)?, skb.load(transport + 8)?];
        let [length, flags] = skb.load(transport + DATA_AND_FLAGS)?;
        let header = u32::from(length >> 4) * 4;
        if header < TCP_HEADER {
            return None;
        }
        let data = parse::rest(skb, transport + header)?;
        Some(Self { seq: u32::from_be_bytes(numbers), ack: u32::from_be_bytes(acked), data, flags })
    }

    /// Whether it has this flag.
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number after it.
    #[inline(always)]
    pub const fn end(&self) -> u32 {
        let flags = self.has(SYN) as u32 + self.has(FIN) as u32;
        self.seq.wrapping_add(self.data).wrapping_add(flags)
    }
}

/// So that none of our programs judges what is sent from here.
#[inline(always)]
pub fn mark(skb: &Skb) {
    if let Some(scope) = judge::scope() {
        skb.set_tag(skb.tag() | scope.tag | scope.arrival_tag);
    }
}

/// Sends a copy back to where the packet came from, or on to where it goes. On lo everything leaves by lo's egress, with
/// the route that the packet has: what is put in front of its ingress has none, and IPv4 would not take it.
#[inline(always)]
pub fn send(skb: &Skb, way: u32, back: bool) -> bool {
    // The mark is the sender's, and no answer would have it.
    if back {
        skb.set_mark(0);
    }
    skb.send_copy(skb.device() != LO && (way == WAY_IN) != back)
}

/// Answers a segment with a reset, as its receiver would if nobody listened there (RFC 9293, 3.5.2).
#[inline(always)]
pub fn refuse(skb: &Skb, way: u32, transport: u32, segment: &Segment) -> u32 {
    let (seq, ack, flags) =
        if segment.has(ACK) { (segment.ack, 0, RST) } else { (0, segment.end(), RST | ACK) };
    let answered = kchaos_turn(skb.context(), transport) != 0
        && kchaos_write_rst(skb.context(), transport, seq, ack, flags.into()) != 0
        && send(skb, way, true);
    if answered { outcome::DONE } else { outcome::SPOILT }
}

/// Makes a reset of a TCP packet: 1, or 0 if it cannot be written. Ports and addresses stay. A global function (see
/// [`super`]), like the next one. `transport`: where the TCP header begins, counted from the network header.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_write_rst(
    skb: *mut __sk_buff,
    transport: u32,
    seq: u32,
    ack: u32,
    flags: u32,
) -> u32 {
    let written = || write_rst(&Skb::from(skb), transport, [seq, ack], flags as u8).is_some();
    (kern::uses(action::ANSWERS) && written()).into()
}

#[inline(always)]
fn write_rst(skb: &Skb, transport: u32, [seq, ack]: [u32; 2], flags: u8) -> Option<()> {
    let start = skb.network_offset();
    let ports = u32::from_ne_bytes(skb.load(transport)?);
    skb.cut(start + transport + TCP_HEADER)?;
    set_length(skb, start, transport + TCP_HEADER)?;
    let pseudo = addresses(skb)? + pseudo(TCP, TCP_HEADER as u16);
    let rest = u32::from_ne_bytes([(TCP_HEADER as u8 / 4) << 4, flags, 0, 0]);
    let partial = fold(pseudo);
    let header = [ports, seq.to_be(), ack.to_be(), rest, u32::from(partial)];
    let sum = u64::from(ports) + u64::from(seq.to_be()) + u64::from(ack.to_be()) + u64::from(rest);
    skb.store(start + transport, &header)?;
    complete(skb, start, transport + CHECKSUM, partial, 2 * pseudo + sum)
}

/// Makes the whole checksum of that of the pseudo header, unless a device will: `difference` is the sum of both.
#[inline(always)]
fn complete(skb: &Skb, start: u32, at: u32, partial: u16, difference: u64) -> Option<()> {
    // SAFETY: a helper on the program's packet. The length 0 says that it is a difference of sums.
    let failed = unsafe { bpf_l4_csum_replace(skb.context(), start + at, 0, fold(difference).into(), 0) };
    let whole = u16::from_ne_bytes(skb.load(at)?);
    if failed == 0 && whole != partial {
        // The sum that a network card has made of all bytes (CHECKSUM_COMPLETE) has not followed that change: once more,
        // such that it does.
        skb.store_unseen(start + at, &partial)?;
        skb.store(start + at, &whole)?;
    }
    if failed == 0 { Some(()) } else { None }
}

/// The sum of both addresses.
#[inline(always)]
pub fn addresses(skb: &Skb) -> Option<u64> {
    if skb.ethertype() == ETHERTYPE_IPV6 {
        // In two halves: a sum of 32 bytes at once takes more of the stack.
        return Some(words(skb.load(8)?) + words(skb.load(24)?));
    }
    let [source, destination]: [[u8; 4]; 2] = [skb.load(12)?, skb.load(16)?];
    Some(u64::from(u32::from_ne_bytes(source)) + u64::from(u32::from_ne_bytes(destination)))
}

#[inline(always)]
fn words(a: [u8; 16]) -> u64 {
    let word = |i: usize| u64::from(u32::from_ne_bytes([a[i], a[i + 1], a[i + 2], a[i + 3]]));
    word(0) + word(4) + word(8) + word(12)
}

/// Tells the IP header how long the packet is now, with it.
#[inline(always)]
fn set_length(skb: &Skb, start: u32, length: u32) -> Option<()> {
    const LENGTH: u32 = 2;
    const CHECKSUM: u32 = 10;
    const PAYLOAD: u32 = 4;
    const IPV6_HEADER: u32 = 40;
    if skb.ethertype() == ETHERTYPE_IPV6 {
        forget_jumbo(skb, start)?;
        return skb.store(start + PAYLOAD, &(length.wrapping_sub(IPV6_HEADER) as u16).to_be());
    }
    let (before, now) = (u16::from_ne_bytes(skb.load(LENGTH)?), (length as u16).to_be());
    change_ipv4(skb, start + CHECKSUM, before, now)?;
    skb.store_unseen(start + LENGTH, &now)
}

/// A packet of more than 64 KiB that is yet to be cut up says its length in an option (RFC 2675), beside which no other may
/// stand: padding takes its place.
#[inline(always)]
fn forget_jumbo(skb: &Skb, start: u32) -> Option<()> {
    const HOP_BY_HOP: u8 = 0;
    const OPTION: u32 = 42;
    const JUMBO: u8 = 0xc2;
    const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let [high, low, next]: [u8; 3] = skb.load(4)?;
    if high | low != 0 || next != HOP_BY_HOP || skb.load(OPTION) != Some([JUMBO]) {
        return Some(());
    }
    skb.store(start + OPTION, &PADDING)
}

/// Makes an IPv4 header's checksum follow the change of a word. What that and the word are changed by adds up to nothing.
#[inline(always)]
fn change_ipv4(skb: &Skb, checksum: u32, before: u16, now: u16) -> Option<()> {
    // SAFETY: a helper on the program's packet.
    let failed = unsafe { bpf_l3_csum_replace(skb.context(), checksum, before.into(), now.into(), 2) };
    if failed == 0 { Some(()) } else { None }
}

/// Exchanges both ends of a packet: link-layer addresses, addresses, ports; and gives it hops for its way back. 1, or 0 if
/// it cannot be written. No sum changes by an exchange.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_turn(skb: *mut __sk_buff, transport: u32) -> u32 {
    (kern::uses(action::ANSWERS) && turn(&Skb::from(skb), transport).is_some()).into()
}

#[inline(always)]
fn turn(skb: &Skb, transport: u32) -> Option<()> {
    const IPV4_HOPS: u32 = 8;
    const IPV4_CHECKSUM: u32 = 10;
    const IPV6_HOPS: u32 = 7;
    let start = skb.network_offset();
    turn_link(skb, start)?;
    let [a, b]: [[u8; 2]; 2] = [skb.load(transport)?, skb.load(transport + 2)?];
    skb.store_unseen(start + transport, &[b, a])?;
    if skb.ethertype() == ETHERTYPE_IPV6 {
        let [source, destination]: [[u8; 16]; 2] = [skb.load(8)?, skb.load(24)?];
        skb.store_unseen(start + 8, &destination)?;
        skb.store_unseen(start + 24, &source)?;
        return skb.store(start + IPV6_HOPS, &HOPS);
    }
    let [source, destination]: [[u8; 4]; 2] = [skb.load(12)?, skb.load(16)?];
    skb.store_unseen(start + 12, &[destination, source])?;
    let [hops, protocol] = skb.load(IPV4_HOPS)?;
    let (before, now) = (u16::from_ne_bytes([hops, protocol]), u16::from_ne_bytes([HOPS, protocol]));
    change_ipv4(skb, start + IPV4_CHECKSUM, before, now)?;
    skb.store_unseen(start + IPV4_HOPS, &HOPS)
}

/// Exchanges the link-layer addresses, if there are any: `start` is where the network header begins.
#[inline(always)]
pub fn turn_link(skb: &Skb, start: u32) -> Option<()> {
    if start != 0 {
        let [destination, source]: [[u8; 6]; 2] = [skb.data(0)?, skb.data(6)?];
        skb.store_unseen(0, &[source, destination])?;
    }
    Some(())
}
