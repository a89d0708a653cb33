//! Frames as they should be, byte by byte: every kind of header that the programs read, and some that they must not.

use super::reader::{self, ETHERNET, ICMP, ICMPV6, TCP, UDP};

/// The ends that rules name, by what a frame is sent from and to.
pub const NEAR4: [u8; 4] = [10, 77, 1, 1];
pub const FAR4: [u8; 4] = [10, 77, 2, 2];
pub const NEAR6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub const FAR6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
pub const NEAR_PORT: u16 = 40_000;
pub const FAR_PORT: u16 = 5432;

const MORE: u16 = 0x2000;
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const AUTHENTICATION: u8 = 51;
pub const DESTINATION: u8 = 60;

/// A frame, and where in it what can be lied about is.
#[derive(Clone)]
pub struct Whole {
    pub what: String,
    pub bytes: Vec<u8>,
    /// Of the IP header.
    pub network: usize,
    /// Of the transport header, or of what stands in its place.
    pub transport: usize,
    pub protocol: u8,
    /// Of each IPv6 extension header.
    pub extensions: Vec<usize>,
}

impl Whole {
    pub fn is_v4(&self) -> bool {
        self.bytes[self.network] >> 4 == 4
    }

    /// The same behind VLAN tags, from the outermost.
    fn tagged(&self, what: &str, tags: &[u16]) -> Self {
        let mut tagged = self.clone();
        tagged.what = format!("{}, {what}", self.what);
        let bytes: Vec<u8> = tags.iter().flat_map(|tag| [tag.to_be_bytes(), [0, 7]]).flatten().collect();
        tagged.bytes.splice(12..12, bytes);
        let moved = tags.len() * 4;
        tagged.network += moved;
        tagged.transport += moved;
        tagged.extensions.iter_mut().for_each(|at| *at += moved);
        tagged
    }

    /// The same, said to be something else.
    fn of_type(&self, ethertype: u16) -> Self {
        let mut other = self.clone();
        other.what = format!("{} as {ethertype:#06x}", self.what);
        other.bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
        other
    }
}

fn tcp(flags: u8, options: usize, data: usize) -> Vec<u8> {
    let mut bytes = ports();
    bytes.extend([0, 0, 0x10, 0, 0, 0, 0x20, 0]);
    bytes.extend([u8::try_from(5 + options / 4).unwrap() << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(vec![1; options]);
    bytes.extend(vec![0xa5; data]);
    bytes
}

fn udp(data: usize) -> Vec<u8> {
    let mut bytes = ports();
    bytes.extend(u16::try_from(8 + data).unwrap().to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(vec![0x5a; data]);
    bytes
}

fn ports() -> Vec<u8> {
    [NEAR_PORT.to_be_bytes(), FAR_PORT.to_be_bytes()].concat()
}

fn icmp(kind: u8) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 9, 0, 1][..], &[0x77; 12]].concat()
}

fn v4(what: &str, options: usize, fragment: u16, protocol: u8, transport: &[u8]) -> Whole {
    let header = 20 + options;
    let mut bytes = [&[2; 12][..], &[8, 0]].concat();
    bytes.extend([0x40 | u8::try_from(header / 4).unwrap(), 0]);
    bytes.extend(u16::try_from(header + transport.len()).unwrap().to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend([NEAR4, FAR4].concat());
    bytes.extend(vec![1; options]);
    let sum = reader::checksum(&bytes[ETHERNET..]);
    bytes[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    finish(format!("IPv4, {what}"), bytes, vec![], protocol, transport)
}

fn v6(what: &str, chain: &[(u8, Vec<u8>)], protocol: u8, transport: &[u8]) -> Whole {
    let length: usize = chain.iter().map(|(_, body)| body.len()).sum();
    let mut bytes = [&[2; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    bytes.extend(u16::try_from(length + transport.len()).unwrap().to_be_bytes());
    let kinds: Vec<u8> = chain.iter().map(|(kind, _)| *kind).chain([protocol]).collect();
    bytes.extend([kinds[0], 64]);
    bytes.extend([NEAR6, FAR6].concat());
    let mut extensions = vec![];
    for ((_, body), next) in chain.iter().zip(&kinds[1..]) {
        extensions.push(bytes.len());
        bytes.extend(body);
        *bytes.iter_mut().rev().nth(body.len() - 1).unwrap() = *next;
    }
    finish(format!("IPv6, {what}"), bytes, extensions, protocol, transport)
}

/// Puts the transport header behind the others, with its checksum.
fn finish(what: String, mut bytes: Vec<u8>, extensions: Vec<usize>, protocol: u8, transport: &[u8]) -> Whole {
    let at = bytes.len();
    bytes.extend(transport);
    if let Some(field) = reader::checksum_field(protocol).filter(|field| transport.len() > field + 1) {
        let sum = reader::transport_checksum(&bytes, at, protocol);
        bytes[at + field..at + field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    Whole { what, bytes, network: ETHERNET, transport: at, protocol, extensions }
}

/// An extension header of so many bytes.
fn extension(kind: u8, length: usize) -> (u8, Vec<u8>) {
    let mut body = vec![0; length];
    body[1] = u8::try_from(if kind == AUTHENTICATION { length / 4 - 2 } else { length / 8 - 1 }).unwrap();
    (kind, body)
}

/// `units` of eight bytes from the start of the datagram.
fn piece(units: u16, more: bool) -> (u8, Vec<u8>) {
    let [high, low] = (units << 3 | u16::from(more)).to_be_bytes();
    (FRAGMENT, vec![0, 0, high, low, 0, 0, 0, 9])
}

/// Name, number and header of every protocol that is tried.
fn transports(v6: bool) -> Vec<(&'static str, u8, Vec<u8>)> {
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let ping = if v6 { (ICMPV6, 128, 1) } else { (ICMP, 8, 3) };
    vec![
        ("SYN with options", TCP, tcp(SYN, 20, 0)),
        ("segment with data", TCP, tcp(ACK, 12, 16)),
        ("segment without data", TCP, tcp(ACK, 0, 0)),
        ("SYN-ACK", TCP, tcp(SYN | ACK, 40, 0)),
        ("reset", TCP, tcp(RST | ACK, 0, 0)),
        ("datagram", UDP, udp(17)),
        ("empty datagram", UDP, udp(0)),
        ("ping", ping.0, icmp(ping.1)),
        ("ICMP error", ping.0, icmp(ping.2)),
        ("UDP-Lite", 136, udp(8)),
        ("SCTP", 132, udp(8)),
        ("DCCP", 33, udp(8)),
        ("ESP", 50, udp(8)),
        ("no data at all", 253, vec![]),
    ]
}

/// All of them.
pub fn wholes() -> Vec<Whole> {
    let mut all = [of_v4(), of_v6(), chains()].concat();
    let (first4, first6) = (all[1].clone(), v6("segment with data", &[], TCP, &tcp(16, 12, 16)));
    for first in [first4, first6] {
        all.push(first.tagged("802.1Q", &[0x8100]));
        all.push(first.tagged("802.1ad", &[0x88a8]));
        all.push(first.tagged("802.1ad and 802.1Q", &[0x88a8, 0x8100]));
        // ARP, LLDP, MPLS, PPPoE, the length of an 802.3 frame, and the other version of IP.
        all.extend([0x0806, 0x88cc, 0x8847, 0x8864, 0x0026, 0, 0xffff].map(|kind| first.of_type(kind)));
        all.push(first.of_type(if first.is_v4() { 0x86dd } else { 0x0800 }));
    }
    all
}

fn of_v4() -> Vec<Whole> {
    let mut all: Vec<Whole> =
        transports(false).iter().map(|(what, protocol, bytes)| v4(what, 0, 0, *protocol, bytes)).collect();
    for (what, protocol, bytes) in
        [("TCP", TCP, tcp(24, 8, 9)), ("UDP", UDP, udp(30)), ("ICMP", ICMP, icmp(8))]
    {
        for options in [4, 24, 40] {
            all.push(v4(&format!("{what} behind {options} bytes of options"), options, 0, protocol, &bytes));
        }
        for (piece, field) in [("first", MORE), ("middle", MORE | 0xb9), ("last", 370)] {
            all.push(v4(&format!("{piece} piece of {what}"), 0, field, protocol, &bytes));
        }
    }
    all
}

fn of_v6() -> Vec<Whole> {
    let mut all: Vec<Whole> =
        transports(true).iter().map(|(what, protocol, bytes)| v6(what, &[], *protocol, bytes)).collect();
    for (what, protocol, bytes) in
        [("TCP", TCP, tcp(24, 8, 9)), ("UDP", UDP, udp(30)), ("ICMP", ICMPV6, icmp(128))]
    {
        for (part, units, more) in
            [("first", 0, true), ("middle", 185, true), ("last", 370, false), ("only", 0, false)]
        {
            let what = format!("{part} piece of {what}");
            all.push(v6(&what, &[piece(units, more)], protocol, &bytes));
        }
        for (kind, length) in [(HOP_BY_HOP, 8), (ROUTING, 24), (AUTHENTICATION, 24), (DESTINATION, 16)] {
            let what = format!("{what} behind header {kind}");
            all.push(v6(&what, &[extension(kind, length)], protocol, &bytes));
        }
    }
    // Neighbour discovery and listener reports are the link's, and errors are not.
    for kind in [1, 129, 130, 133, 135, 136, 137, 138, 143] {
        all.push(v6(&format!("ICMPv6 {kind}"), &[], ICMPV6, &icmp(kind)));
    }
    all.push(v6("listener report", &[extension(HOP_BY_HOP, 8)], ICMPV6, &icmp(143)));
    all
}

fn chains() -> Vec<Whole> {
    let several = [extension(HOP_BY_HOP, 8), extension(ROUTING, 24), extension(DESTINATION, 8)];
    let behind = [piece(0, true), extension(DESTINATION, 8)];
    let later = [extension(HOP_BY_HOP, 16), piece(100, true), extension(DESTINATION, 8)];
    let mut all = vec![
        v6("three headers", &several, TCP, &tcp(24, 4, 20)),
        v6("a header behind a first piece", &behind, UDP, &udp(12)),
        v6("a header in a later piece", &later, UDP, &udp(12)),
        v6("no next header", &several[..1], 59, &[]),
        v6("a header of mobility", &[], 135, &udp(8)),
    ];
    // Six are followed.
    for count in [5, 6, 7, 8, 20] {
        let chain: Vec<_> = (0..count).map(|n| extension(if n == 0 { 0 } else { DESTINATION }, 8)).collect();
        all.push(v6(&format!("{count} headers"), &chain, UDP, &udp(12)));
    }
    all
}
