//! The kernel's questions about sockets.

use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::lib::hooks::sockets;

/// `security_socket_connect`: connect(2) to a unix socket.
#[lsm(hook = "socket_connect")]
pub fn kchaos_socket_connect(ctx: LsmContext) -> i32 {
    sockets::connect(&ctx)
}

/// `security_socket_accept`: accept(2).
#[lsm(hook = "socket_accept")]
pub fn kchaos_socket_accept(ctx: LsmContext) -> i32 {
    sockets::accept(&ctx)
}

/// `security_socket_sendmsg`: the send family, and write(2) on a socket.
#[lsm(hook = "socket_sendmsg")]
pub fn kchaos_socket_sendmsg(ctx: LsmContext) -> i32 {
    sockets::send(&ctx)
}

/// `security_socket_recvmsg`: the recv family, and read(2) on a socket.
#[lsm(hook = "socket_recvmsg")]
pub fn kchaos_socket_recvmsg(ctx: LsmContext) -> i32 {
    sockets::recv(&ctx)
}

/// `security_socket_bind`: bind(2).
#[lsm(hook = "socket_bind")]
pub fn kchaos_socket_bind(ctx: LsmContext) -> i32 {
    sockets::bind(&ctx)
}

/// `security_socket_listen`: listen(2).
#[lsm(hook = "socket_listen")]
pub fn kchaos_socket_listen(ctx: LsmContext) -> i32 {
    sockets::listen(&ctx)
}

/// `security_socket_create`: socket(2), socketpair(2).
#[lsm(hook = "socket_create")]
pub fn kchaos_socket_create(ctx: LsmContext) -> i32 {
    sockets::create(&ctx)
}
