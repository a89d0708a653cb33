//! rtnetlink, as much of it as kchaos takes.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::exchange::{ERROR, Exchange};

/// The name of a network device in the network namespace of the calling thread, if it is there. (`nix` takes one that is
/// not there for one without a name.)
pub fn device_name(index: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(index).ok()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

/// A socket to the kernel. It speaks to the network namespace of the thread that opened it.
pub struct Rtnl {
    exchange: Exchange,
}

impl Rtnl {
    /// Opens one in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self { exchange: Exchange::open(NETLINK_ROUTE)? })
    }

    /// Sends a request, and collects the payload of the replies of the type `wanted` up to the acknowledgement or the
    /// end of the dump. `flags` must ask for one of these.
    pub fn ask(&self, request: RouteNetlinkMessage, flags: u16, wanted: u16) -> io::Result<Vec<Vec<u8>>> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = 1;
        message.finalize();
        self.exchange.ask(&message, wanted)
    }

    /// Sends a request that is answered with nothing but an acknowledgement. `flags` must ask for it.
    pub fn tell(&self, request: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(request, flags, ERROR).map(drop)
    }
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
