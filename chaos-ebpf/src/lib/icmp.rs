//! ICMP errors: "destination unreachable", with the beginning of the packet that it is about (RFC 792, RFC 4443).

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_adjust_room};
use chaos_common::{
    checksum::{fold, pseudo},
    reject::Code,
    rule::action,
};

use super::{
    kern,
    parse::{self, ETHERTYPE_IPV6, ICMP, ICMPV6},
    reply::{HOPS, turn_link},
    skb::Skb,
};

const IPV4_HEADER: u32 = 20;
const IPV6_HEADER: u32 = 40;
const ICMP_HEADER: u32 = 8;
/// How much is said of what follows the headers: enough to tell the connection.
const QUOTED: u32 = 8;
/// The most that is quoted in all, in bytes. Headers that are longer are made to be looked at.
const MOST: u32 = 256;

/// Whether nobody may be told about a packet (RFC 1122, 3.2.2; RFC 4443, 2.4): it is for a group, or an error itself. Or there
/// is too little of it to tell.
#[inline(always)]
pub fn is_unanswerable(skb: &Skb, protocol: u8, transport: u32) -> bool {
    const ECHO: [u8; 2] = [8, 128];
    let quoted = transport + QUOTED;
    if transport == 0 || quoted > MOST || parse::rest(skb, quoted).is_none() {
        return true;
    }
    if protocol == ICMP && !skb.load(transport).is_some_and(|[kind]: [u8; 1]| ECHO.contains(&kind)) {
        return true;
    }
    // Broadcasts of a network are known by their link-layer address only.
    if skb.network_offset() != 0 && skb.data(0).is_none_or(|[first]: [u8; 1]| first & 1 != 0) {
        return true;
    }
    if skb.ethertype() == ETHERTYPE_IPV6 {
        return skb.load(24).is_none_or(|[first]: [u8; 1]| first == 0xff);
    }
    // Groups and broadcasts.
    skb.load(16).is_none_or(|[first]: [u8; 1]| first >= 224)
}

/// Makes an error of a packet, for whoever sent it: 1, or 0 if it cannot be written. A global function (see [`super`]), like
/// the next one. `transport`: where its transport header begins, counted from the network header.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_write_unreachable(skb: *mut __sk_buff, transport: u32, code: u32) -> u32 {
    let written = || write(&Skb::from(skb), transport, code.to_ne_bytes()).is_some();
    (kern::uses(1 << action::REJECT) && written()).into()
}

#[inline(always)]
fn write(skb: &Skb, transport: u32, code: Code) -> Option<()> {
    let (start, quoted) = (skb.network_offset(), transport + QUOTED);
    if quoted > MOST {
        return None;
    }
    skb.cut(start + quoted)?;
    let sum = u64::from(kchaos_sum(skb.context(), quoted));
    let [type4, code4, type6, code6] = code;
    if skb.ethertype() == ETHERTYPE_IPV6 {
        let (source, destination): ([u8; 16], [u8; 16]) = (skb.load(8)?, skb.load(24)?);
        grow(skb, IPV6_HEADER + ICMP_HEADER)?;
        turn_link(skb, start)?;
        let length = (ICMP_HEADER + quoted) as u16;
        let [high, low] = length.to_be_bytes();
        skb.store(start, &[0x60, 0, 0, 0, high, low, ICMPV6, HOPS])?;
        skb.store(start + 8, &destination)?;
        skb.store(start + 24, &source)?;
        let own = kchaos_addresses(skb.context()) + pseudo(ICMPV6, length);
        return header(skb, start + IPV6_HEADER, type6, code6, sum + own);
    }
    let (source, destination): ([u8; 4], [u8; 4]) = (skb.load(12)?, skb.load(16)?);
    grow(skb, IPV4_HEADER + ICMP_HEADER)?;
    turn_link(skb, start)?;
    let [high, low] = ((IPV4_HEADER + ICMP_HEADER + quoted) as u16).to_be_bytes();
    let words = [
        // Of the class that routers send such messages with (RFC 1812, 5.3.2).
        u32::from_ne_bytes([0x45, 0xc0, high, low]),
        0,
        u32::from_ne_bytes([HOPS, ICMP, 0, 0]),
        u32::from_ne_bytes(destination),
        u32::from_ne_bytes(source),
    ];
    let own = u64::from(words[0]) + u64::from(words[2]) + u64::from(words[3]) + u64::from(words[4]);
    skb.store(start, &words)?;
    skb.store(start + 10, &!fold(own))?;
    header(skb, start + IPV4_HEADER, type4, code4, sum)
}

/// Room behind the link-layer header.
#[inline(always)]
fn grow(skb: &Skb, length: u32) -> Option<()> {
    const MAC: u32 = 1;
    // SAFETY: a helper on the program's packet.
    if unsafe { bpf_skb_adjust_room(skb.context(), length as i32, MAC, 0) } == 0 { Some(()) } else { None }
}

/// The ICMP header; `sum` is that of all that its checksum is about besides.
#[inline(always)]
fn header(skb: &Skb, at: u32, kind: u8, code: u8, sum: u64) -> Option<()> {
    let first = u16::from_ne_bytes([kind, code]);
    skb.store(at, &[first, !fold(sum + u64::from(first)), 0, 0])
}

/// The sum of the first bytes of a packet from its network header on.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_sum(skb: *mut __sk_buff, length: u32) -> u32 {
    if !kern::uses(1 << action::REJECT) {
        return 0;
    }
    let (skb, mut at, mut sum) = (Skb::from(skb), 0, 0);
    // Every header is of words of four bytes, and so is what is quoted.
    loop {
        let Some(word) = skb.load(at) else { return 0 };
        sum = kern::opaque(fold(sum + u64::from(u32::from_ne_bytes(word))).into());
        at += 4;
        if at >= length || at >= MOST {
            return sum as u32;
        }
    }
}

/// The sum of both addresses of IPv6.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_addresses(skb: *mut __sk_buff) -> u64 {
    if !kern::uses(1 << action::REJECT) {
        return 0;
    }
    super::reply::addresses(&Skb::from(skb)).unwrap_or(0)
}
