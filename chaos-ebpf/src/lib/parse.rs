//! Reads the headers of a packet: addresses, protocol, ports. IPv4 with options, IPv6 with extension headers,
//! fragments.
//!
//! A packet that is not IP, is truncated, or lies about its lengths is `None`: never matched, never touched.

use super::kern::Skb;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDPLITE: u8 = 136;
const SCTP: u8 = 132;
const DCCP: u8 = 33;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Extension headers that are followed before the packet is taken as "no ports". Real traffic has at most three.
const MAX_EXTENSION_HEADERS: usize = 6;

/// An address of either family, in network byte order.
#[derive(Clone, Copy)]
pub enum Address {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

/// What rules are matched against.
pub struct Headers {
    /// Sender.
    pub source: Address,
    /// Receiver.
    pub destination: Address,
    /// IP protocol number of the transport. `ICMPv6` is reported as ICMP, so that a rule for ICMP covers both families.
    pub protocol: u8,
    /// Source and destination port, host byte order; `None` for protocols without ports and for later fragments.
    pub ports: Option<(u16, u16)>,
}

/// The headers of `skb`, if it is IP.
#[inline(always)]
pub fn headers(skb: &Skb) -> Option<Headers> {
    match skb.ethertype() {
        ETHERTYPE_IPV4 => ipv4(skb),
        ETHERTYPE_IPV6 => ipv6(skb),
        _ => None,
    }
}

/// RFC 791.
#[inline(always)]
fn ipv4(skb: &Skb) -> Option<Headers> {
    let h: [u8; 20] = skb.load(0)?;
    let header_len = u32::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header_len < 20 {
        return None;
    }
    let fragment_offset = u16::from_be_bytes([h[6], h[7]]) & 0x1fff;
    let protocol = h[9];
    Some(Headers {
        source: Address::V4([h[12], h[13], h[14], h[15]]),
        destination: Address::V4([h[16], h[17], h[18], h[19]]),
        protocol,
        ports: if fragment_offset == 0 { ports(skb, protocol, header_len) } else { None },
    })
}

/// RFC 8200.
#[inline(always)]
fn ipv6(skb: &Skb) -> Option<Headers> {
    const HEADER_LEN: u32 = 40;
    let fixed: [u8; 8] = skb.load(0)?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let source = skb.load(8)?;
    let destination = skb.load(24)?;
    let (protocol, transport) = extension_headers(skb, fixed[6], HEADER_LEN);
    Some(Headers {
        source: Address::V6(source),
        destination: Address::V6(destination),
        protocol: if protocol == ICMPV6 { ICMP } else { protocol },
        ports: transport.and_then(|offset| ports(skb, protocol, offset)),
    })
}

/// Follows the chain of extension headers from `next` at `offset`: the transport's protocol number, and where its
/// header starts unless it cannot be in this packet.
#[inline(always)]
fn extension_headers(skb: &Skb, mut next: u8, mut offset: u32) -> (u8, Option<u32>) {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;

    for _ in 0..MAX_EXTENSION_HEADERS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return (next, Some(offset));
        }
        let Some(h) = skb.load::<4>(offset) else { return (next, None) };
        match next {
            FRAGMENT => {
                if u16::from_be_bytes([h[2], h[3]]) & 0xfff8 != 0 {
                    return (h[0], None);
                }
                offset += 8;
            }
            AUTHENTICATION => offset += (u32::from(h[1]) + 2) * 4,
            _ => offset += (u32::from(h[1]) + 1) * 8,
        }
        next = h[0];
    }
    (next, None)
}

#[inline(always)]
fn ports(skb: &Skb, protocol: u8, offset: u32) -> Option<(u16, u16)> {
    if !matches!(protocol, TCP | UDP | UDPLITE | SCTP | DCCP) {
        return None;
    }
    let p: [u8; 4] = skb.load(offset)?;
    Some((u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])))
}
