//! rtnetlink, as much of it as kchaos takes: one request, and the answers up to the acknowledgement.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Kinds of messages (`linux/netlink.h`).
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Length of `struct nlmsghdr`, and what every message is padded to.
const MESSAGE_HEADER: usize = 16;
const ALIGNMENT: usize = 4;

/// The name of a network device in the network namespace of the calling thread, if it is there. (`nix` takes one that is
/// not there for one without a name.)
pub fn device_name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// A socket to the kernel. It speaks to the network namespace of the thread that opened it.
pub struct Rtnl {
    socket: Socket,
}

impl Rtnl {
    /// Opens one in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Sends a request, and collects the payload of the replies of the type `wanted` up to the acknowledgement or the
    /// end of the dump. `flags` must ask for one of these.
    pub fn ask(&self, request: RouteNetlinkMessage, flags: u16, wanted: u16) -> io::Result<Vec<Vec<u8>>> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = 1;
        message.finalize();
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

    /// Sends a request that is answered with nothing but an acknowledgement. `flags` must ask for it.
    pub fn tell(&self, request: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(request, flags, ERROR).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_has_no_name() {
        assert_eq!(Some("lo"), device_name(1).as_deref());
        assert_eq!(None, device_name(i32::MAX.cast_unsigned()));
    }
}
