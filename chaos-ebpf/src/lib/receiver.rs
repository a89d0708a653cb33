//! Who gets a packet that arrives at a device.
//!
//! A packet that arrives has no socket yet. The one that it is for is looked up and given to it, which the kernel does
//! itself a little later, and which is the only way to its cgroup.

use aya_ebpf::{
    bindings::{
        BPF_F_CURRENT_NETNS, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Tuple4,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Tuple6,
    },
    helpers::generated::{bpf_sk_assign, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};

use super::{
    kern::Skb,
    parse::{Headers, TCP, UDP},
};

/// What was found out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// The packet has its socket now.
    Found,
    /// Its connection is being made, and has no socket yet.
    Half,
    /// Nobody gets it.
    None,
}

/// `TCP_NEW_SYN_RECV` and `TCP_TIME_WAIT` (`net/tcp_states.h`): connections without a full socket.
const NEW_SYN_RECV: u32 = 12;
const TIME_WAIT: u32 = 6;

/// Finds the socket that a packet is for and gives it to the packet. One that cannot be given is left alone.
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
            Receiver::Half
        } else if state == TIME_WAIT || bpf_sk_assign(skb.context().cast(), socket.cast(), 0) != 0 {
            Receiver::None
        } else {
            Receiver::Found
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
        let assigned = bpf_sk_assign(skb.context().cast(), socket.cast(), 0) == 0;
        bpf_sk_release(socket.cast());
        if assigned { Receiver::Found } else { Receiver::None }
    }
}
