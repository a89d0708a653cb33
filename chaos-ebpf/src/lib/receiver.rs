//! The sockets at both ends of a packet's way, looked up by its addresses.
//!
//! A packet that arrives has no socket yet. The one that it is for is looked up and given to it, which the kernel does
//! itself a little later, and which is the only way to its cgroup. One that is sent over lo has its sender here, too, and
//! if that knows nothing of it, something has changed its addresses on the way.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
    },
    helpers::generated::{bpf_sk_assign, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};

use super::{
    parse::{ETHERTYPE_IPV6, Headers, TCP, UDP},
    skb::Skb,
};

/// What was found out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// The packet has its socket now.
    Found,
    /// Somebody gets it, but it cannot be known who: its connection is being made, and has no socket yet, or the kernel
    /// does not let its socket be given (before Linux 6.6: one with `SO_REUSEPORT`).
    Unknown,
    /// Nobody gets it.
    None,
}

/// `TCP_NEW_SYN_RECV` and `TCP_TIME_WAIT` (`net/tcp_states.h`): connections without a full socket.
const NEW_SYN_RECV: u32 = 12;
const TIME_WAIT: u32 = 6;

/// Finds the socket that a packet is for and gives it to the packet.
#[inline(always)]
pub fn find(skb: &Skb, headers: &Headers) -> Receiver {
    let Headers { source, destination, transport } = headers;
    // What is for a group of receivers is not for one socket.
    if !transport.has_ports() || !skb.is_for_host() {
        return Receiver::None;
    }
    let (sport, dport) = (transport.source().to_be(), transport.destination().to_be());
    let words = |address: [u64; 2]| {
        let [first, second] = address;
        [first as u32, (first >> 32) as u32, second as u32, (second >> 32) as u32]
    };
    let mut tuple = bpf_sock_tuple {
        __bindgen_anon_1: bpf_sock_tuple__bindgen_ty_1 {
            ipv6: Tuple6 { saddr: [0; 4], daddr: [0; 4], sport: 0, dport: 0 },
        },
    };
    let length = if source.v6 {
        tuple.__bindgen_anon_1.ipv6 =
            Tuple6 { saddr: words(source.words), daddr: words(destination.words), sport, dport };
        size_of::<Tuple6>()
    } else {
        tuple.__bindgen_anon_1.ipv4 =
            Tuple4 { saddr: source.words[0] as u32, daddr: destination.words[0] as u32, sport, dport };
        size_of::<Tuple4>()
    };
    assign(skb, transport.protocol(), &raw mut tuple, length as u32)
}

/// One for each protocol: the verifier wants every instruction to work on one kind of socket.
#[inline(always)]
fn assign(skb: &Skb, protocol: u8, tuple: *mut bpf_sock_tuple, length: u32) -> Receiver {
    match protocol {
        TCP => assign_tcp(skb, tuple, length),
        UDP => assign_udp(skb, tuple, length),
        _ => Receiver::None,
    }
}

/// The namespace that the packet is in.
const HERE: u64 = (BPF_F_CURRENT_NETNS as i64).cast_unsigned();

#[inline(always)]
fn assign_tcp(skb: &Skb, tuple: *mut bpf_sock_tuple, length: u32) -> Receiver {
    // SAFETY: helpers on the program's packet; the tuple is as long as said. What was looked up is given back.
    unsafe {
        let socket = bpf_skc_lookup_tcp(skb.context().cast(), tuple, length, HERE, 0);
        if socket.is_null() {
            return Receiver::None;
        }
        let state = (&raw const (*socket).state).read_volatile();
        let found = if state == NEW_SYN_RECV {
            Receiver::Unknown
        } else if state == TIME_WAIT {
            Receiver::None
        } else {
            given(bpf_sk_assign(skb.context().cast(), socket.cast(), 0))
        };
        bpf_sk_release(socket.cast());
        found
    }
}

#[inline(always)]
fn assign_udp(skb: &Skb, tuple: *mut bpf_sock_tuple, length: u32) -> Receiver {
    // SAFETY: as above.
    unsafe {
        let socket = bpf_sk_lookup_udp(skb.context().cast(), tuple, length, HERE, 0);
        if socket.is_null() {
            return Receiver::None;
        }
        let found = given(bpf_sk_assign(skb.context().cast(), socket.cast(), 0));
        bpf_sk_release(socket.cast());
        found
    }
}

#[inline(always)]
const fn given(answer: i64) -> Receiver {
    if answer == 0 { Receiver::Found } else { Receiver::Unknown }
}

/// Whether the addresses of a packet on lo are those by which its sender knows it: 1 or 0. Where they have been translated
/// (a proxy beside the service), what the kernel has noted about that on the packet is lost in the line, and the
/// connection with it. Only TCP can be told: a UDP socket need not know whom it talks to. What resets a connection may
/// have no sender any more, and no translation to lose either.
///
/// `transport`: where the transport header begins, counted from the network header; 0 in later fragments. (The headers
/// are not read as for a match, which takes too much of the stack that all functions share.)
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_has_sender(skb: *mut __sk_buff, protocol: u32, transport: u32) -> u32 {
    const FLAGS: u32 = 13;
    const RST: u8 = 1 << 2;
    let skb = &Skb::from(skb);
    if protocol != u32::from(TCP) || transport == 0 {
        return 1;
    }
    match skb.load(transport + FLAGS) {
        Some([flags]) if flags & RST == 0 => {}
        _ => return 1,
    }
    // The sender's socket is at the packet's source, and talks to its destination. In the order of `bpf_sock_tuple`.
    let mut tuple = [0u8; size_of::<Tuple6>()];
    let (read, length) = if skb.ethertype() == ETHERTYPE_IPV6 {
        let read = skb.copy::<16>(24, &mut tuple, 0)
            && skb.copy::<16>(8, &mut tuple, 16)
            && skb.copy::<2>(transport + 2, &mut tuple, 32)
            && skb.copy::<2>(transport, &mut tuple, 34);
        (read, size_of::<Tuple6>())
    } else {
        let read = skb.copy::<4>(16, &mut tuple, 0)
            && skb.copy::<4>(12, &mut tuple, 4)
            && skb.copy::<2>(transport + 2, &mut tuple, 8)
            && skb.copy::<2>(transport, &mut tuple, 10);
        (read, size_of::<Tuple4>())
    };
    if !read {
        return 1;
    }
    // SAFETY: as above.
    unsafe {
        let socket =
            bpf_skc_lookup_tcp(skb.context().cast(), tuple.as_mut_ptr().cast(), length as u32, HERE, 0);
        if socket.is_null() {
            return 0;
        }
        bpf_sk_release(socket.cast());
    }
    1
}
