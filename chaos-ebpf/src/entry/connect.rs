//! `cgroup_sock_addr`: connect(2) of every protocol, and UDP sends that name their address (sendto, sendmsg).
//!
//! A program answers 1 for "go on" and 0 for "fail".

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use chaos_common::rule::hook;

use crate::lib::call;

/// connect(2) on an IPv4 socket.
#[cgroup_sock_addr(connect4)]
pub fn kchaos_connect4(ctx: SockAddrContext) -> i32 {
    call::ipv4(ctx.sock_addr, hook::CONNECT).unwrap_or(1)
}

/// connect(2) on an IPv6 socket, to an IPv4-mapped address too.
#[cgroup_sock_addr(connect6)]
pub fn kchaos_connect6(ctx: SockAddrContext) -> i32 {
    call::ipv6(ctx.sock_addr, hook::CONNECT).unwrap_or(1)
}

/// sendto(2), sendmsg(2) on an unconnected IPv4 UDP socket.
#[cgroup_sock_addr(sendmsg4)]
pub fn kchaos_sendmsg4(ctx: SockAddrContext) -> i32 {
    call::ipv4(ctx.sock_addr, hook::SEND_TO).unwrap_or(1)
}

/// sendto(2), sendmsg(2) on an unconnected IPv6 UDP socket, to an IPv4-mapped address too.
#[cgroup_sock_addr(sendmsg6)]
pub fn kchaos_sendmsg6(ctx: SockAddrContext) -> i32 {
    call::ipv6(ctx.sock_addr, hook::SEND_TO).unwrap_or(1)
}
