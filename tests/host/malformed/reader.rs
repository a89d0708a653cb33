//! A plain reader of frames, by the RFCs and nothing else: it shares no code with the programs that it is held against.
//!
//! What a program may look at is a frame whose addresses and ports are there to be read: in the frame's own bytes, behind
//! headers that are what they say, and before the end that IP says, if it says one. More than that IP and UDP need not say
//! truly: a packet may be cut up later, or have been cut off after its ports.

use std::net::IpAddr;

pub const ETHERNET: usize = 14;
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;

/// What a frame shows.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// That of ICMP for `ICMPv6`, too.
    pub protocol: u8,
    pub ports: Ports,
    /// Where the transport header begins, if it is in this frame.
    pub transport: Option<usize>,
    /// Whether it is only a piece of a datagram, the first or a later one.
    pub is_piece: bool,
    /// Whether it is a TCP reset.
    pub resets: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Of the source, and of the destination.
    Here(u16, u16),
    None,
    /// In another piece of the datagram.
    Elsewhere,
}

/// What a frame shows, if it is IP and can be read.
pub fn read(frame: &[u8]) -> Option<Seen> {
    match number(frame, 12)? {
        0x0800 => read_v4(frame),
        0x86dd => read_v6(frame),
        _ => None,
    }
}

/// Whether the kernel may say that there is no such packet: it is shorter than the headers that its type promises.
pub fn is_short(frame: &[u8]) -> bool {
    let promised = match number(frame, 12) {
        Some(0x0800) => 20,
        Some(0x86dd) => 40,
        // The kernel takes no packet that is nothing but an Ethernet header.
        _ => 1,
    };
    frame.len() < ETHERNET + promised
}

/// RFC 791.
fn read_v4(frame: &[u8]) -> Option<Seen> {
    let header = frame.get(ETHERNET..ETHERNET + 20)?;
    let length = usize::from(header[0] % 16) * 4;
    let said = usize::from(number(header, 2)?);
    if header[0] / 16 != 4 || length < 20 || said != 0 && said < length {
        return None;
    }
    let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&header[at..at + 4]).unwrap());
    // The flag of more pieces, and where this one begins.
    let field = number(header, 6)? % 0x4000;
    let transport = (field % 0x2000 == 0).then_some(ETHERNET + length);
    show(frame, (address(12), address(16)), header[9], transport, field != 0)
}

/// RFC 8200: six extension headers at most, of those that the RFC names (and RFC 4302).
fn read_v6(frame: &[u8]) -> Option<Seen> {
    let header = frame.get(ETHERNET..ETHERNET + 40)?;
    if header[0] / 16 != 6 {
        return None;
    }
    let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
    let ends = (address(8), address(24));
    let (mut kind, mut at, mut is_piece) = (header[6], ETHERNET + 40, false);
    for followed in 0.. {
        if ![0, 43, 44, 51, 60].contains(&kind) {
            break;
        }
        let extension = frame.get(at..at + 4)?;
        let next = extension[0];
        if kind == 44 {
            let field = number(extension, 2)?;
            // Behind the header of a later piece there is nothing to be followed.
            if field / 8 != 0 {
                return show(frame, ends, if next == ICMPV6 { ICMP } else { next }, None, true);
            }
            is_piece = field % 2 != 0;
        }
        if followed == 6 {
            return None;
        }
        at += match kind {
            44 => 8,
            51 => usize::from(extension[1]) * 4 + 8,
            _ => usize::from(extension[1]) * 8 + 8,
        };
        kind = next;
    }
    if kind == ICMPV6 {
        // RFC 4861, 2710, 3810: talk of the link.
        let kind = *frame[..end(frame)].get(at)?;
        if (130..=137).contains(&kind) || kind == 143 {
            return None;
        }
        return show(frame, ends, ICMP, Some(at), is_piece);
    }
    show(frame, ends, kind, Some(at), is_piece)
}

/// `transport`: where its header begins, if it is in this frame.
fn show(
    frame: &[u8],
    ends: (IpAddr, IpAddr),
    protocol: u8,
    transport: Option<usize>,
    is_piece: bool,
) -> Option<Seen> {
    let has_ports = [TCP, UDP, 33, 132, 136].contains(&protocol);
    let read = if has_ports { 4 } else { 0 };
    if transport.is_some_and(|at| at + read > end(frame)) {
        return None;
    }
    let ports = match transport {
        None => Ports::Elsewhere,
        Some(at) if has_ports => Ports::Here(number(frame, at)?, number(frame, at + 2)?),
        Some(_) => Ports::None,
    };
    let flags = transport.filter(|_| protocol == TCP).and_then(|at| frame.get(at + 13));
    let resets = flags.is_some_and(|flags| flags & 4 != 0);
    Some(Seen { source: ends.0, destination: ends.1, protocol, ports, transport, is_piece, resets })
}

/// Where the packet ends: what is behind it is what a short frame is padded with. A length of 0 says nothing.
fn end(frame: &[u8]) -> usize {
    let is_v6 = frame[ETHERNET] / 16 == 6;
    let said = |at: usize| usize::from(number(frame, ETHERNET + at).unwrap());
    let (said, header) = if is_v6 { (said(4), 40) } else { (said(2), 0) };
    if said == 0 { frame.len() } else { frame.len().min(ETHERNET + header + said) }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().unwrap()))
}

/// RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

/// Where the checksum is in a transport header.
pub fn checksum_field(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    }
}

/// What the checksum of what begins at `at`, up to the frame's end, comes to: 0 if that has the right one in it. The
/// frame has no VLAN tag.
pub fn transport_checksum(frame: &[u8], at: usize, protocol: u8) -> u16 {
    let length = u32::try_from(frame.len() - at).unwrap();
    let addresses = match frame[ETHERNET] >> 4 {
        4 if protocol == ICMP => return checksum(&frame[at..]),
        4 => &frame[ETHERNET + 12..ETHERNET + 20],
        _ => &frame[ETHERNET + 8..ETHERNET + 40],
    };
    let pseudo = [addresses, &length.to_be_bytes(), &[0, 0, 0, protocol], &frame[at..]];
    checksum(&pseudo.concat())
}
