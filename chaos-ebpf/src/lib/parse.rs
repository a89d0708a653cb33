//! Reads the headers of a packet: addresses, protocol, ports. IPv4 with options, IPv6 with extension headers,
//! fragments.
//!
//! A packet that is not IP, is truncated, or lies about its lengths is `None`: never matched, never touched.

use aya_ebpf::bindings::__sk_buff;

use super::{
    headers::{Address, ELSEWHERE, HERE, Headers, PORTLESS, Transport, UNREADABLE},
    skb::Skb,
};

/// `EtherType` of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `EtherType` of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The protocol number of TCP.
pub const TCP: u8 = 6;
/// The protocol number of UDP.
pub const UDP: u8 = 17;
const UDPLITE: u8 = 136;
const SCTP: u8 = 132;
const DCCP: u8 = 33;
/// The protocol number of ICMP, and what `ICMPv6` is reported as.
pub const ICMP: u8 = 1;
/// The protocol number of `ICMPv6`.
pub const ICMPV6: u8 = 58;

/// Extension headers that are followed before the packet is given up. Real traffic has at most three.
const MAX_EXTENSION_HEADERS: usize = 6;

/// The headers of `skb`, if it is IP.
#[inline(always)]
pub fn headers(skb: &Skb) -> Option<Headers> {
    let headers = match skb.ethertype() {
        ETHERTYPE_IPV4 => ipv4(skb)?,
        ETHERTYPE_IPV6 => ipv6(skb)?,
        _ => return None,
    };
    if headers.transport.kind() == UNREADABLE { None } else { Some(headers) }
}

/// In an IPv4 header, the byte of the flags.
const MORE_FRAGMENTS: u8 = 0x20;

/// RFC 791.
#[inline(always)]
fn ipv4(skb: &Skb) -> Option<Headers> {
    let h: [u8; 20] = skb.load(0)?;
    let header_len = u32::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header_len < 20 {
        return None;
    }
    // Larger than it can say, before it is cut up.
    let length = u32::from(u16::from_be_bytes([h[2], h[3]]));
    if length != 0 && length < header_len {
        return None;
    }
    let fragment_offset = u16::from_be_bytes([h[6], h[7]]) & 0x1fff;
    let protocol = h[9];
    Some(Headers {
        source: Address::v4([h[12], h[13], h[14], h[15]]),
        destination: Address::v4([h[16], h[17], h[18], h[19]]),
        transport: if fragment_offset == 0 {
            let more = h[6] & MORE_FRAGMENTS != 0;
            Transport::from(kchaos_ports(skb.context(), u32::from(protocol), header_len)).with_more(more)
        } else {
            Transport::new(ELSEWHERE, protocol, 0, 0)
        },
    })
}

/// RFC 8200.
#[inline(always)]
fn ipv6(skb: &Skb) -> Option<Headers> {
    let fixed: [u8; 8] = skb.load(0)?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    Some(Headers {
        source: Address::v6(&skb.load(8)?),
        destination: Address::v6(&skb.load(24)?),
        transport: Transport::from(kchaos_extensions(skb.context(), u32::from(fixed[6]))),
    })
}

/// Neighbour discovery and multicast listener messages (RFC 4861, 2710, 3810) belong to the link, like ARP, and not to
/// a process: the kernel sends them for everyone from one socket, in the cgroup of whoever made the network namespace.
#[inline(always)]
fn is_of_the_link(icmpv6_type: u8) -> bool {
    matches!(icmpv6_type, 130..=137 | 143)
}

#[inline(always)]
fn icmpv6(skb: *mut __sk_buff, offset: u32) -> u64 {
    let skb = &Skb::from(skb);
    match skb.load(offset) {
        Some([kind]) if !is_of_the_link(kind) && rest(skb, offset + 1).is_some() => {
            Transport::new(PORTLESS, ICMP, offset, 0).number()
        }
        _ => UNREADABLE,
    }
}

/// Follows the chain of IPv6 extension headers from `next` and answers with the [`Transport`] at its end. A global
/// function (see [`super`]), like the next one.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_extensions(skb: *mut __sk_buff, next: u32) -> u64 {
    const HEADER_LEN: u32 = 40;
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;

    let (mut next, mut offset, mut more) = (next as u8, HEADER_LEN, false);
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return if next == ICMPV6 {
                icmpv6(skb, offset)
            } else {
                Transport::from(kchaos_ports(skb, u32::from(next), offset)).with_more(more).number()
            };
        }
        let Some(h) = Skb::from(skb).load::<4>(offset) else { return UNREADABLE };
        match next {
            FRAGMENT => {
                if u16::from_be_bytes([h[2], h[3]]) & 0xfff8 != 0 {
                    let protocol = if h[0] == ICMPV6 { ICMP } else { h[0] };
                    return Transport::new(ELSEWHERE, protocol, 0, 0).number();
                }
                more = h[3] & 1 != 0;
                offset += 8;
            }
            AUTHENTICATION => offset += (u32::from(h[1]) + 2) * 4,
            _ => offset += (u32::from(h[1]) + 1) * 8,
        }
        next = h[0];
    }
    UNREADABLE
}

/// Length of the packet by its IP header, with that; `None` where it says nothing, as of packets that are yet to be cut.
#[inline(always)]
pub fn ip_length(skb: &Skb) -> Option<u32> {
    const IPV6_HEADER: u32 = 40;
    let [first, _, high, low, payload_high, payload_low]: [u8; 6] = skb.load(0)?;
    let length = if first >> 4 == 4 {
        u32::from(u16::from_be_bytes([high, low]))
    } else {
        let payload = u32::from(u16::from_be_bytes([payload_high, payload_low]));
        if payload == 0 { 0 } else { payload + IPV6_HEADER }
    };
    if length == 0 { None } else { Some(length) }
}

/// How many bytes a packet has from `from` on, counted from its network header; `None` past its end. Without those that a
/// short frame is padded with.
#[inline(always)]
pub fn rest(skb: &Skb, from: u32) -> Option<u32> {
    let held = skb.length().checked_sub(skb.network_offset() + from)?;
    match ip_length(skb) {
        Some(ip) => {
            let said = ip.checked_sub(from)?;
            Some(if said < held { said } else { held })
        }
        None => Some(held),
    }
}

/// How long the transport header is, and where in it the checksum is, for protocols that have data and one.
#[inline(always)]
pub fn data_after(skb: &Skb, protocol: u8, transport: u32) -> Option<(u32, u32)> {
    const TCP_HEADER: u32 = 20;
    const TCP_LENGTH: u32 = 12;
    const TCP_CHECKSUM: u32 = 16;
    const UDP_HEADER: u32 = 8;
    const UDP_CHECKSUM: u32 = 6;
    match protocol {
        TCP => {
            let [length] = skb.load(transport + TCP_LENGTH)?;
            let header = u32::from(length >> 4) * 4;
            if header < TCP_HEADER { None } else { Some((header, TCP_CHECKSUM)) }
        }
        UDP => Some((UDP_HEADER, UDP_CHECKSUM)),
        _ => None,
    }
}

/// The [`Transport`] that begins at `offset`.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_ports(skb: *mut __sk_buff, protocol: u32, offset: u32) -> u64 {
    const PORTS: u32 = 4;
    let (skb, protocol) = (&Skb::from(skb), protocol as u8);
    if !matches!(protocol, TCP | UDP | UDPLITE | SCTP | DCCP) {
        let there = rest(skb, offset).is_some();
        return if there { Transport::new(PORTLESS, protocol, offset, 0).number() } else { UNREADABLE };
    }
    match skb.load(offset) {
        // Behind the end that the IP header says is what short frames are padded with.
        Some(ports) if ip_length(skb).is_none_or(|length| length >= offset + PORTS) => {
            Transport::new(HERE, protocol, offset, u32::from_be_bytes(ports)).number()
        }
        _ => UNREADABLE,
    }
}
