//! Which clauses match: one lookup per field, and what is left in all of them. The cost does not grow with the number of clauses.

use aya_ebpf::btf_maps::lpm_trie::Key;
use chaos_common::{
    clause_mask,
    key::{PORT_BITS, port_key},
    scope::Scope,
};

use super::parse::Address;
use crate::maps::{KCHAOS_LPORT, KCHAOS_PEER4, KCHAOS_PEER6, KCHAOS_PPORT};

/// Clauses that match a far end, with the two ports as (near, far); `None` for what has no ports.
#[inline(always)]
pub fn clauses(scope: &Scope, peer: Address, ports: Option<(u16, u16)>) -> u64 {
    let by_address = address(peer);
    if by_address == 0 {
        return 0;
    }
    match ports {
        None => by_address & clause_mask(scope.portless),
        Some((near, far)) => by_address & far_port(far) & near_port(near),
    }
}

/// Clauses that match the far end of a call: its near port is not known yet.
#[inline(always)]
pub fn call_clauses(peer: Address, port: u16) -> u64 {
    let by_address = address(peer);
    if by_address == 0 { 0 } else { by_address & far_port(port) }
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
