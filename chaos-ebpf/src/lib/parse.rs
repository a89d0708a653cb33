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

/// Extension headers that are followed before the packet is given up. Real traffic has at most three.
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
    /// Its ports.
    pub ports: Ports,
}

/// The ports of a packet.
#[derive(Clone, Copy)]
pub enum Ports {
    /// Source and destination, host byte order.
    Here(u16, u16),
    /// A later fragment: they are in the first.
    Elsewhere,
    /// The protocol has none.
    None,
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
        ports: if fragment_offset == 0 { ports(skb, protocol, header_len)? } else { Ports::Elsewhere },
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
    let transport = transport(skb, fixed[6], HEADER_LEN);
    let protocol = transport.protocol;
    if transport.offset == UNREADABLE {
        return None;
    }
    let ports = if transport.offset == IN_FIRST_FRAGMENT {
        Ports::Elsewhere
    } else if protocol == ICMPV6 {
        let [kind]: [u8; 1] = skb.load(transport.offset)?;
        if is_of_the_link(kind) {
            return None;
        }
        Ports::None
    } else {
        ports(skb, protocol, transport.offset)?
    };
    Some(Headers {
        source: Address::V6(source),
        destination: Address::V6(destination),
        protocol: if protocol == ICMPV6 { ICMP } else { protocol },
        ports,
    })
}

/// Neighbour discovery and multicast listener messages (RFC 4861, 2710, 3810) belong to the link, like ARP, and not to a
/// process: the kernel sends them for everyone from one socket, in the cgroup of whoever made the network namespace.
#[inline(always)]
fn is_of_the_link(icmpv6_type: u8) -> bool {
    matches!(icmpv6_type, 130..=137 | 143)
}

/// What follows the extension headers. Plain numbers and no `Option`: the compiler leaves the inside of a `None` undefined
/// and moves it about all the same, which the verifier refuses.
#[derive(Clone, Copy)]
struct Transport {
    protocol: u8,
    /// From the network header; or one of the two below.
    offset: u32,
}

/// The transport header stands in the first fragment of the datagram, and this is a later one.
const IN_FIRST_FRAGMENT: u32 = 0;
/// The packet ends before its headers do, or has more of them than anyone sends.
const UNREADABLE: u32 = u32::MAX;

/// Follows the chain of extension headers from `next` at `offset`.
#[inline(always)]
fn transport(skb: &Skb, mut next: u8, mut offset: u32) -> Transport {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;

    for _ in 0..MAX_EXTENSION_HEADERS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return Transport { protocol: next, offset };
        }
        let Some(h) = skb.load::<4>(offset) else {
            return Transport { protocol: next, offset: UNREADABLE };
        };
        match next {
            FRAGMENT => {
                if u16::from_be_bytes([h[2], h[3]]) & 0xfff8 != 0 {
                    return Transport { protocol: h[0], offset: IN_FIRST_FRAGMENT };
                }
                offset += 8;
            }
            AUTHENTICATION => offset += (u32::from(h[1]) + 2) * 4,
            _ => offset += (u32::from(h[1]) + 1) * 8,
        }
        next = h[0];
    }
    Transport { protocol: next, offset: UNREADABLE }
}

#[inline(always)]
fn ports(skb: &Skb, protocol: u8, offset: u32) -> Option<Ports> {
    if !matches!(protocol, TCP | UDP | UDPLITE | SCTP | DCCP) {
        return Some(Ports::None);
    }
    let p: [u8; 4] = skb.load(offset)?;
    Some(Ports::Here(u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])))
}
