//! One request over netlink, and the answers up to the acknowledgement or the end of the list.

use std::io;

use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkSerializable};
use netlink_sys::{Socket, SocketAddr};

/// Kinds of messages (`linux/netlink.h`).
pub const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Length of `struct nlmsghdr`, and what every message is padded to.
const MESSAGE_HEADER: usize = 16;
const ALIGNMENT: usize = 4;

/// A socket to the kernel. It speaks to the network namespace of the thread that opened it.
pub struct Exchange {
    socket: Socket,
}

impl Exchange {
    /// Opens one of a protocol in the network namespace of the calling thread.
    pub fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Sends a request, which must ask for an acknowledgement or a list, and collects the payload of the replies of the
    /// type `wanted`. The message must be finalized.
    pub fn ask<M: NetlinkSerializable>(
        &self,
        message: &NetlinkMessage<M>,
        wanted: u16,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut replies = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            if read(&datagram, wanted, &mut replies)? {
                return Ok(replies);
            }
        }
    }
}

/// Reads the messages of a datagram. Answers whether that was the end.
fn read(datagram: &[u8], wanted: u16, replies: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
        match message.message_type() {
            // The end of a dump carries a code, too, where the dump was cut short.
            DONE | ERROR => {
                let code = message.payload().first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(true) };
            }
            other if other == wanted => replies.push(message.payload().to_vec()),
            _ => {}
        }
        let length = usize::try_from(message.length()).map_err(io::Error::other)?.max(MESSAGE_HEADER);
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    Ok(false)
}
