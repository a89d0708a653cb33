//! Calls to many addresses, which lead nowhere or may fail: only that they are made counts.

use std::{io, net::SocketAddr, net::UdpSocket, os::fd::AsRawFd};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};

/// Makes the calls that standard input names, one per line.
pub fn make() {
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let (verb, to) = line.split_once(' ').unwrap();
        let to: SocketAddr = to.parse().unwrap();
        match verb {
            "tcp-connect" => tcp(to),
            "udp-connect" => drop(UdpSocket::bind(crate::any(to)).unwrap().connect(to)),
            "udp-send" => drop(UdpSocket::bind(crate::any(to)).unwrap().send_to(&[7; 4], to)),
            other => panic!("{other} is no call"),
        }
    }
}

/// From this port of any address. What follows is a reset, so that the port is free at once.
pub fn connect_from(port: u16, to: SocketAddr) -> io::Result<()> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::empty(), None)?;
    setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(crate::any(to).ip(), port)))?;
    Ok(connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?)
}

/// Without waiting for an answer.
fn tcp(to: SocketAddr) {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).unwrap();
    let _no_route = connect(socket.as_raw_fd(), &SockaddrStorage::from(to));
}
