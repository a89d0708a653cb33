//! The kernel's list of TCP connections (`sock_diag(7)`), as much of it as kchaos takes: whose they are, and how to end one.

use std::{io, net::SocketAddr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, Parseable};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use crate::exchange::Exchange;

/// Kinds of messages (`linux/sock_diag.h`).
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;

/// The attribute with the cgroup of a socket (`INET_DIAG_CGROUP_ID`, `linux/inet_diag.h`); Linux 5.9 and later.
const CGROUP_ID: u16 = 21;

const FAMILIES: [u8; 2] = [AF_INET, AF_INET6];

/// The protocol whose connections these are.
pub const TCP: u8 = IPPROTO_TCP;

/// A connection as one of its ends knows it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The end that is in this namespace. IPv4 on an IPv6 socket is IPv4.
    pub local: SocketAddr,
    /// The other one.
    pub remote: SocketAddr,
    /// Id of the cgroup (v2) that its socket was made in.
    pub cgroup: u64,
    family: u8,
    id: SocketId,
}

impl Connection {
    /// A number that no other socket of this host has had or will have.
    pub fn cookie(&self) -> u64 {
        u64::from_ne_bytes(self.id.cookie)
    }
}

/// A socket to the kernel. It speaks to the network namespace of the thread that opened it.
pub struct SockDiag {
    exchange: Exchange,
}

impl SockDiag {
    /// Opens one in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self { exchange: Exchange::open(NETLINK_SOCK_DIAG)? })
    }

    /// All connections over which data may still come.
    pub fn connections(&self) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        for family in FAMILIES {
            let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT;
            let request = message(family, states, SocketId::new_v4(), NLM_F_DUMP);
            for reply in self.exchange.ask(&request, BY_FAMILY)? {
                let reply = InetResponse::parse(&reply).map_err(io::Error::other)?;
                found.extend(connection(family, reply));
            }
        }
        Ok(found)
    }

    /// Ends a connection: its owner sees ECONNABORTED, and the other end gets a reset. `false`: it is gone already.
    pub fn destroy(&self, connection: &Connection) -> io::Result<bool> {
        let mut request = message(connection.family, StateFlags::empty(), connection.id.clone(), NLM_F_ACK);
        request.header.message_type = DESTROY;
        match self.exchange.ask(&request, DESTROY) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether this kernel can end connections at all.
    pub fn can_destroy(&self) -> io::Result<()> {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let none =
            Connection { local: nobody, remote: nobody, cgroup: 0, family: AF_INET, id: SocketId::new_v4() };
        self.destroy(&none).map(drop)
    }
}

fn message(
    family: u8,
    states: StateFlags,
    socket_id: SocketId,
    flags: u16,
) -> NetlinkMessage<SockDiagMessage> {
    let request =
        InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id };
    let mut message = NetlinkMessage::from(SockDiagMessage::InetRequest(request));
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = 1;
    message.finalize();
    message
}

fn connection(family: u8, reply: InetResponse) -> Option<Connection> {
    let id = reply.header.socket_id;
    let cgroup = reply.nlas.iter().find_map(|nla| match nla {
        Nla::Other(other) if netlink_packet_core::Nla::kind(other) == CGROUP_ID => {
            let mut bytes = [0; 8];
            (netlink_packet_core::Nla::value_len(other) == bytes.len())
                .then(|| netlink_packet_core::Nla::emit_value(other, &mut bytes))?;
            Some(u64::from_ne_bytes(bytes))
        }
        _ => None,
    })?;
    let end = |address: std::net::IpAddr, port| SocketAddr::new(address.to_canonical(), port);
    Some(Connection {
        local: end(id.source_address, id.source_port),
        remote: end(id.destination_address, id.destination_port),
        cgroup,
        family,
        id,
    })
}
