//! Services whose address is translated on the way (`DNAT`: Docker's published ports, kube-proxy). What leaves a device has
//! the address of a backend, and its socket still knows the service by which the application has asked for it. A rule may
//! name either.
//!
//! Only of TCP: a UDP socket that is connected to one address may send to another. And what a tunnel has wrapped keeps the
//! socket of what is inside: the socket must have the packet's own port.
//!
//! What must stay true: a packet whose socket knows it by the addresses that it has costs a comparison and no more.

use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use chaos_common::rule::hook;

use super::{
    headers::{Address, Transport},
    judge,
    parse::{ETHERTYPE_IPV6, TCP},
    plan,
    select::{self, Found},
    skb::Skb,
};

const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// What a packet of this far end fits, by its own address or by that of the service. `None`: no clause.
#[inline(always)]
pub fn or_of_service(skb: &Skb, transport: Transport, own: Found) -> Option<Found> {
    let mut found = own;
    if transport.has_ports() && transport.protocol() == TCP {
        found.words |= kchaos_service(skb.context(), transport.number(), own.how);
        if plan::is_translated() {
            found.how |= select::TRANSLATED;
        }
    }
    if found.words == 0 { None } else { Some(found) }
}

/// Looks up what the service fits by which the socket of a packet knows its far end: answers with the words of clauses, and
/// puts the rows into the plan. Nothing where that is the packet's own address. A global function (see [`super`]).
/// `transport`: [`Transport::number`]; `how`: what was found for the packet itself.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_service(skb: *mut __sk_buff, transport: u64, how: u32) -> u64 {
    let (skb, transport) = (&Skb::from(skb), Transport::from(transport));
    let Some((service, port)) = known_as(skb, transport.source()) else { return 0 };
    let Some(own) = destination(skb) else { return 0 };
    let same = service.v6 == own.v6 && service.words[0] == own.words[0] && service.words[1] == own.words[1];
    if port == 0 || same && port == transport.destination() {
        return 0;
    }
    let Some(scope) = judge::scope() else { return 0 };
    let Some(found) = select::rows_of(scope, hook::EGRESS, &service, transport.to(port), true) else {
        return 0;
    };
    // Tables that have been replaced meanwhile have other rows: the packet is judged by its own address.
    if !select::are_of_one(found.how, how) {
        return 0;
    }
    plan::set_service(found.rows);
    found.words
}

/// The far end as the packet's socket has it, if its own port is that of the packet; 0 is the port of none.
#[inline(always)]
fn known_as(skb: &Skb, own_port: u16) -> Option<(Address, u16)> {
    let socket: *const bpf_sock = skb.socket();
    if socket.is_null() {
        return None;
    }
    // SAFETY: the verifier knows that it is a socket. One load for each field, of a width that every kernel allows.
    unsafe {
        if (&raw const (*socket).src_port).read_volatile() != u32::from(own_port) {
            return None;
        }
        let port = u16::from_be((&raw const (*socket).dst_port).read_volatile());
        match (&raw const (*socket).family).read_volatile() {
            AF_INET => {
                let address = (&raw const (*socket).dst_ip4).read_volatile();
                Some((Address::v4(address.to_ne_bytes()), port))
            }
            AF_INET6 => {
                let words = (&raw const (*socket).dst_ip6).cast::<u32>();
                let words = [
                    words.read_volatile(),
                    words.add(1).read_volatile(),
                    words.add(2).read_volatile(),
                    words.add(3).read_volatile(),
                ];
                Some((Address::unmapped(words), port))
            }
            _ => None,
        }
    }
}

/// Where the packet goes.
#[inline(always)]
fn destination(skb: &Skb) -> Option<Address> {
    if skb.ethertype() == ETHERTYPE_IPV6 {
        return Some(Address::v6(&skb.load(24)?));
    }
    Some(Address::v4(skb.load(16)?))
}
