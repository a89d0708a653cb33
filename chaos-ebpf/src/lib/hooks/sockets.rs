//! Questions about sockets.

use aya_ebpf::programs::LsmContext;
use chaos_common::rule::hook;

use super::{pointer, previous};
use crate::lib::{
    socket::{self, no_ends},
    syscall::{Call, answer},
};

/// `socket_connect(sock, address, addrlen)`: those to unix sockets. `io_uring` asks again when it goes on.
#[inline(always)]
pub fn connect(ctx: &LsmContext) -> i32 {
    let length = ctx.arg::<u32>(2);
    answer(hook::CONNECT_UNIX, previous(ctx, 3), |_| {
        if socket::is_connecting(pointer(ctx, 0)) {
            return None;
        }
        Some(Call::with(socket::of_unix(pointer(ctx, 1), length)?))
    })
}

/// `socket_accept(sock, newsock)`. Who has connected is not known yet.
#[inline(always)]
pub fn accept(ctx: &LsmContext) -> i32 {
    answer(hook::ACCEPT, previous(ctx, 2), |_| Some(Call { ends: socket::ends(pointer(ctx, 0)), facts: 0 }))
}

/// `socket_sendmsg(sock, msg, size)`.
#[inline(always)]
pub fn send(ctx: &LsmContext) -> i32 {
    answer(hook::SEND, previous(ctx, 3), |_| {
        let (socket, message) = (pointer(ctx, 0), pointer(ctx, 1));
        if socket::is_of_the_kernel(socket) {
            return None;
        }
        Some(Call { ends: socket::ends_of_message(socket, message), facts: 0 })
    })
}

/// `socket_recvmsg(sock, msg, size, flags)`.
#[inline(always)]
pub fn recv(ctx: &LsmContext) -> i32 {
    answer(hook::RECV, previous(ctx, 4), |_| {
        let socket = pointer(ctx, 0);
        if socket::is_of_the_kernel(socket) {
            return None;
        }
        Some(Call { ends: socket::ends(socket), facts: 0 })
    })
}

/// `socket_bind(sock, address, addrlen)`.
#[inline(always)]
pub fn bind(ctx: &LsmContext) -> i32 {
    answer(hook::BIND, previous(ctx, 3), |_| {
        let (socket, address) = (pointer(ctx, 0), pointer(ctx, 1));
        Some(Call { ends: socket::ends_to_be(socket, address), facts: 0 })
    })
}

/// `socket_listen(sock, backlog)`.
#[inline(always)]
pub fn listen(ctx: &LsmContext) -> i32 {
    answer(hook::LISTEN, previous(ctx, 2), |_| Some(Call { ends: socket::ends(pointer(ctx, 0)), facts: 0 }))
}

/// `socket_create(family, type, protocol, kern)`: not those that the kernel makes for itself.
#[inline(always)]
pub fn create(ctx: &LsmContext) -> i32 {
    let for_the_kernel = ctx.arg::<u32>(3) != 0;
    answer(hook::SOCKET, previous(ctx, 4), |_| {
        if for_the_kernel { None } else { Some(Call { ends: no_ends(), facts: 0 }) }
    })
}
