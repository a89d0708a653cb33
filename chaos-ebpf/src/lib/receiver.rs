//! The sockets at both ends of a packet's way, looked up by its addresses.
//!
//! A packet that arrives has no socket yet. The one that it is for is looked up and given to it, which the kernel does
//! itself a little later, and which is the only way to its cgroup. One that is sent over lo has its sender here, too, and
//! if that knows nothing of it, something has changed its addresses on the way.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
    },
    helpers::generated::{bpf_sk_assign, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use chaos_common::rule::action;

use super::{
    headers::Transport,
    kern,
    parse::{ETHERTYPE_IPV6, TCP, UDP},
    skb::Skb,
};

/// What was found out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// The packet has its socket now.
    Found,
    /// Somebody gets it, but it cannot be known who: it is a piece of a datagram, or the kernel does not let its socket be
    /// given (before Linux 6.6: one with `SO_REUSEPORT`).
    Unknown,
    /// Nobody gets it.
    None,
}

/// `TCP_TIME_WAIT` (`net/tcp_states.h`): what is left of a connection, which belongs to nobody. One that is still being made
/// has no full socket either, but the listener's cgroup.
const TIME_WAIT: u32 = 6;

/// Finds the socket that a packet is for and gives it to the packet.
#[inline(always)]
pub fn find(skb: &Skb, transport: Transport) -> Receiver {
    // A datagram in pieces is nobody's before it has been put together: its pieces go on, in their order.
    if transport.is_fragment() {
        return Receiver::Unknown;
    }
    // What is for a group of receivers is not for one socket.
    if !transport.has_ports() || !skb.is_for_host() {
        return Receiver::None;
    }
    match kchaos_receiver(skb.context(), transport.protocol().into(), transport.offset()) {
        FOUND => Receiver::Found,
        UNKNOWN => Receiver::Unknown,
        _ => Receiver::None,
    }
}

const NOBODY: u32 = 0;
const FOUND: u32 = 1;
const UNKNOWN: u32 = 2;

/// Looks up the receiver's socket and gives it to the packet: [`FOUND`], [`UNKNOWN`] or [`NOBODY`]. A global function (see
/// [`super`]), like the one below: the addresses are read once more, which takes less of the stack that all share.
/// `transport`: where the transport header begins, counted from the network header.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_receiver(skb: *mut __sk_buff, protocol: u32, transport: u32) -> u32 {
    let skb = &Skb::from(skb);
    let mut tuple = [0u8; size_of::<Tuple6>()];
    let length = fill(skb, transport, &mut tuple, At::Destination);
    if length == 0 {
        return NOBODY;
    }
    // One call for each protocol: the verifier wants every instruction to work on one kind of socket.
    match protocol as u8 {
        TCP => assign_tcp(skb, tuple.as_mut_ptr().cast(), length),
        UDP => assign_udp(skb, tuple.as_mut_ptr().cast(), length),
        _ => NOBODY,
    }
}

/// At which end of the packet's way a socket is looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Source,
    Destination,
}

/// Writes what names the socket at one end of a packet's way, a `bpf_sock_tuple`: its length, or 0 if that cannot be read.
#[inline(always)]
fn fill(skb: &Skb, transport: u32, tuple: &mut [u8; size_of::<Tuple6>()], at: At) -> u32 {
    // The other end comes first.
    let turned = at == At::Source;
    let (sport, dport) = if turned { (transport + 2, transport) } else { (transport, transport + 2) };
    if skb.ethertype() == ETHERTYPE_IPV6 {
        let (saddr, daddr) = if turned { (24, 8) } else { (8, 24) };
        let read = skb.copy::<16>(saddr, tuple, 0)
            && skb.copy::<16>(daddr, tuple, 16)
            && skb.copy::<2>(sport, tuple, 32)
            && skb.copy::<2>(dport, tuple, 34);
        if read { size_of::<Tuple6>() as u32 } else { 0 }
    } else {
        let (saddr, daddr) = if turned { (16, 12) } else { (12, 16) };
        let read = skb.copy::<4>(saddr, tuple, 0)
            && skb.copy::<4>(daddr, tuple, 4)
            && skb.copy::<2>(sport, tuple, 8)
            && skb.copy::<2>(dport, tuple, 10);
        if read { size_of::<Tuple4>() as u32 } else { 0 }
    }
}

/// The namespace that the packet is in.
const HERE: u64 = (BPF_F_CURRENT_NETNS as i64).cast_unsigned();

#[inline(always)]
fn assign_tcp(skb: &Skb, tuple: *mut bpf_sock_tuple, length: u32) -> u32 {
    // SAFETY: helpers on the program's packet; the tuple is as long as said. What was looked up is given back.
    unsafe {
        let socket = bpf_skc_lookup_tcp(skb.context().cast(), tuple, length, HERE, 0);
        if socket.is_null() {
            return NOBODY;
        }
        let state = (&raw const (*socket).state).read_volatile();
        let found = if state == TIME_WAIT {
            NOBODY
        } else {
            given(bpf_sk_assign(skb.context().cast(), socket.cast(), 0))
        };
        bpf_sk_release(socket.cast());
        found
    }
}

#[inline(always)]
fn assign_udp(skb: &Skb, tuple: *mut bpf_sock_tuple, length: u32) -> u32 {
    // SAFETY: as above.
    unsafe {
        let socket = bpf_sk_lookup_udp(skb.context().cast(), tuple, length, HERE, 0);
        if socket.is_null() {
            return NOBODY;
        }
        let found = given(bpf_sk_assign(skb.context().cast(), socket.cast(), 0));
        bpf_sk_release(socket.cast());
        found
    }
}

#[inline(always)]
const fn given(answer: i64) -> u32 {
    if answer == 0 { FOUND } else { UNKNOWN }
}

/// Whether the addresses of a packet on lo are those by which its sender knows it: 1 or 0. Where they have been translated
/// (a proxy beside the service), what the kernel has noted about that on the packet is lost in the line, and the
/// connection with it. Only TCP can be told: a UDP socket need not know whom it talks to. What resets a connection may
/// have no sender any more, and no translation to lose either.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_has_sender(skb: *mut __sk_buff, protocol: u32, transport: u32) -> u32 {
    const FLAGS: u32 = 13;
    const RST: u8 = 1 << 2;
    let skb = &Skb::from(skb);
    let matters = kern::uses(action::LEAVES_ON_ITS_WAY | action::ANSWERS);
    if !matters || protocol != u32::from(TCP) || transport == 0 {
        return 1;
    }
    match skb.load(transport + FLAGS) {
        Some([flags]) if flags & RST == 0 => {}
        _ => return 1,
    }
    let mut tuple = [0u8; size_of::<Tuple6>()];
    let length = fill(skb, transport, &mut tuple, At::Source);
    if length == 0 {
        return 1;
    }
    // SAFETY: as above.
    unsafe {
        let socket = bpf_skc_lookup_tcp(skb.context().cast(), tuple.as_mut_ptr().cast(), length, HERE, 0);
        if socket.is_null() {
            return 0;
        }
        bpf_sk_release(socket.cast());
    }
    1
}
