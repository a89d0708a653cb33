//! What the programs send, one way or the other, and whether it is what a host would take.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket},
};

use super::reader::{self, ETHERNET, ICMP, ICMPV6, Seen, TCP};

/// Sees every frame that a device sends or receives, in the namespace which this thread is in.
pub struct Tap {
    socket: OwnedFd,
    device: u32,
}

impl Tap {
    pub fn new(device: u32) -> Self {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
        Self { socket, device }
    }

    /// What was sent since the last time.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut frames = vec![];
        let mut buffer = [0; 2048];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) if from.ifindex() == self.device as usize => {
                    frames.push(buffer[..length].to_vec());
                }
                Ok(_) => {}
                Err(Errno::EAGAIN) => return frames,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// What is wrong with the answer to a frame.
pub fn complaint(frame: &[u8], asked: &Seen, answer: &[u8]) -> Option<&'static str> {
    let Some(seen) = reader::read(answer) else { return Some("unreadable") };
    let is_v4 = answer[ETHERNET] >> 4 == 4;
    let said =
        |at: usize| usize::from(u16::from_be_bytes([answer[ETHERNET + at], answer[ETHERNET + at + 1]]));
    let length = if is_v4 { said(2) } else { said(4) + 40 };
    if length + ETHERNET != answer.len() {
        return Some("lies about its length");
    }
    let Some(transport) = seen.transport.filter(|_| !seen.is_piece) else {
        return Some("is a piece, and waits for the others");
    };
    let on_wire = if is_v4 || seen.protocol != ICMP { seen.protocol } else { ICMPV6 };
    if reader::transport_checksum(answer, transport, on_wire) != 0 {
        return Some("wrong checksum");
    }
    // A segment keeps the header that it came with, and its mistakes.
    if is_v4 && header_sum(answer) != 0 && (seen.protocol == ICMP || header_sum(frame) == 0) {
        return Some("wrong checksum of the header");
    }
    match seen.protocol {
        TCP if asked.protocol == TCP => of_segment(asked, &seen, answer.len() - transport),
        ICMP => of_error(frame, asked, &seen, &answer[transport..], is_v4),
        _ => Some("of another protocol"),
    }
}

fn header_sum(frame: &[u8]) -> u16 {
    let length = usize::from(frame[ETHERNET] % 16) * 4;
    frame.get(ETHERNET..ETHERNET + length).map_or(1, reader::checksum)
}

/// A reset, to one end or the other.
fn of_segment(asked: &Seen, seen: &Seen, length: usize) -> Option<&'static str> {
    let turned = (seen.source, seen.destination) == (asked.destination, asked.source);
    let goes_on = (seen.source, seen.destination) == (asked.source, asked.destination);
    match () {
        () if !turned && !goes_on => Some("for somebody else"),
        () if !seen.resets => Some("no reset"),
        () if length != 20 => Some("more than a header"),
        () => None,
    }
}

/// "Unreachable", to the sender, with the beginning of what it sent.
fn of_error(frame: &[u8], asked: &Seen, seen: &Seen, error: &[u8], is_v4: bool) -> Option<&'static str> {
    let unreachable = if is_v4 { 3 } else { 1 };
    let quoted = &error[8..];
    match () {
        () if (seen.source, seen.destination) != (asked.destination, asked.source) => {
            Some("for somebody else")
        }
        () if error[0] != unreachable => Some("another error"),
        () if !frame[ETHERNET..].starts_with(quoted) => Some("quotes something else"),
        () if ETHERNET + quoted.len() != asked.transport.unwrap_or(0) + 8 => {
            Some("quotes too much or too little")
        }
        () => None,
    }
}
