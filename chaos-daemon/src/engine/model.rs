//! The matcher in plain words: which faults a packet or call fits, read off the file itself, one condition after the
//! other.
//!
//! `kchaos preview` asks it, and the tables that the kernel works with ([`super::tables`]) are tested against it: it
//! must share no code with them.

use std::net::IpAddr;

use super::tables::Addresses;
use crate::config::{
    FaultSpec,
    value::{Host, Peer, Ports as Ranges},
};

/// What a packet or call shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its far end.
    pub far: IpAddr,
    /// Number of its protocol; that of ICMP for `ICMPv6` too.
    pub protocol: u32,
    /// Its ports.
    pub ports: Ports,
}

/// The ports of a packet or call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Of both ends. A call does not know its near one yet.
    Known {
        /// Of the process that is hit.
        near: Option<u16>,
        /// Of its far end.
        far: u16,
    },
    /// The protocol has none.
    None,
    /// They are in another fragment of the datagram.
    Elsewhere,
}

/// Whether `fault` looks at this at all: before its draw, its times and what is protected. `hooks` are bits of
/// [`chaos_common::rule::hook`], those of the faults that are asked here. That is one, but where packets arrive in a
/// network namespace that is the target as a whole: there it is INGRESS and ARRIVAL.
pub fn fits(fault: &FaultSpec, names: &Addresses, hooks: u32, seen: &Seen) -> bool {
    let side = &fault.side;
    let of_protocol = side.protocol.is_none_or(|protocol| protocol.number() == seen.protocol);
    if fault.fault.hooks() & hooks == 0 || !of_protocol || !near_fits(&side.packets.local_ports, seen.ports) {
        return false;
    }
    let is_far_end =
        |peer: &Peer| host_fits(&peer.host, names, seen.far) && ports_fit(peer.ports.as_ref(), seen.ports);
    let mut peers = side.peers.iter().map(toml::Spanned::get_ref);
    let is_peer = side.peers.is_empty() || peers.any(is_far_end);
    // Half of a datagram must not be hit because the other half cannot be seen.
    let is_excluded = |peer: &Peer| match seen.ports {
        Ports::Elsewhere => host_fits(&peer.host, names, seen.far),
        _ => is_far_end(peer),
    };
    is_peer && !side.exclude.iter().any(|peer| is_excluded(peer.get_ref()))
}

/// Whether `fault` looks at packets of a socket of which only the near end is known: one that waits for connections.
/// `hooks` as above.
pub fn may_fit(fault: &FaultSpec, hooks: u32, protocol: u32, near: u16) -> bool {
    let of_protocol = fault.side.protocol.is_none_or(|wanted| wanted.number() == protocol);
    let ports = Ports::Known { near: Some(near), far: 0 };
    fault.fault.hooks() & hooks != 0 && of_protocol && near_fits(&fault.side.packets.local_ports, ports)
}

fn near_fits(wanted: &[Ranges], ports: Ports) -> bool {
    let near = match ports {
        Ports::Known { near, .. } => near,
        Ports::None | Ports::Elsewhere => None,
    };
    wanted.is_empty() || near.is_some_and(|near| wanted.iter().any(|ranges| contains(ranges, near)))
}

fn ports_fit(wanted: Option<&Ranges>, ports: Ports) -> bool {
    match (wanted, ports) {
        (None, _) => true,
        (Some(ranges), Ports::Known { far, .. }) => contains(ranges, far),
        (Some(_), Ports::None | Ports::Elsewhere) => false,
    }
}

fn contains(Ranges(ranges): &Ranges, port: u16) -> bool {
    ranges.iter().any(|range| (range.first..=range.last).contains(&port))
}

fn host_fits(host: &Host, names: &Addresses, address: IpAddr) -> bool {
    match host {
        Host::Any => true,
        Host::Net(network) => network.contains(&address),
        Host::Name(name) => names.get(name).is_some_and(|addresses| addresses.contains(&address)),
    }
}
