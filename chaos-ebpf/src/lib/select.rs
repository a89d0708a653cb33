//! Which clauses match: one lookup per field, and what is left in all of them. The cost does not grow with the number of clauses.

use aya_ebpf::btf_maps::lpm_trie::Key;
use chaos_common::{
    clause_mask,
    key::{PORT_BITS, port_key},
    scope::Scope,
};

use super::parse::{Address, Ports};
use crate::maps::{KCHAOS_LPORT, KCHAOS_PEER4, KCHAOS_PEER6, KCHAOS_PPORT};

/// Clauses that a packet or call fits.
pub struct Fit {
    /// Those that match it.
    pub matching: u64,
    /// Those that exclude it. More than match it where the ports are in another fragment: an exclusion must hold for the
    /// whole datagram, and leaving too much alone is the safe side.
    pub excluding: u64,
}

/// Clauses for the far end of a packet. `ports` are as the packet has them; `near_first` says that the source is the near
/// end.
#[inline(always)]
pub fn of_packet(scope: &Scope, peer: Address, ports: Ports, near_first: bool) -> Fit {
    let by_address = address(peer);
    if by_address == 0 {
        return Fit { matching: 0, excluding: 0 };
    }
    let portless = by_address & clause_mask(scope.portless);
    match ports {
        Ports::None => Fit { matching: portless, excluding: portless },
        Ports::Elsewhere => Fit { matching: portless, excluding: by_address },
        Ports::Here(source, destination) => {
            let (near, far) = if near_first { (source, destination) } else { (destination, source) };
            let matching = by_address & far_port(far) & near_port(near);
            Fit { matching, excluding: matching }
        }
    }
}

/// Clauses for the far end of a call. Its near port is not known yet, so only clauses that do not ask for one can match:
/// those that are found at port 0, which no clause names.
#[inline(always)]
pub fn of_call(peer: Address, port: u16) -> Fit {
    let by_address = address(peer);
    let matching = if by_address == 0 { 0 } else { by_address & far_port(port) & near_port(0) };
    Fit { matching, excluding: matching }
}

#[inline(always)]
fn address(peer: Address) -> u64 {
    let bits = match peer {
        Address::V4(a) => KCHAOS_PEER4.get(&Key::new(32, a)),
        Address::V6(a) => KCHAOS_PEER6.get(&Key::new(128, a)),
    };
    bits.map_or(0, |b| clause_mask(*b))
}

#[inline(always)]
fn far_port(port: u16) -> u64 {
    KCHAOS_PPORT.get(&Key::new(PORT_BITS, port_key(port))).map_or(0, |b| clause_mask(*b))
}

#[inline(always)]
fn near_port(port: u16) -> u64 {
    KCHAOS_LPORT.get(&Key::new(PORT_BITS, port_key(port))).map_or(0, |b| clause_mask(*b))
}
