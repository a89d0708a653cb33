//! ICMP echo requests, by a raw socket.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use crate::Calls;

/// Sends `count` requests and does not wait for answers.
pub fn send(to: SocketAddr, count: u64) -> Calls {
    const REQUEST4: u8 = 8;
    const REQUEST6: u8 = 128;
    let (family, protocol, kind) = match to {
        SocketAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP, REQUEST4),
        SocketAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6, REQUEST6),
    };
    // SAFETY: plain system calls; the address is as long as its length says.
    unsafe {
        let fd = libc::socket(family, libc::SOCK_RAW, protocol);
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(fd);
        // Type, code, checksum (of IPv4; the kernel fills in that of IPv6), identifier, sequence.
        let mut packet = [kind, 0, 0, 0, 0, 1, 0, 1];
        let sum = !(u16::from_be_bytes([kind, 0]) + 1 + 1);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        let (mut v4, mut v6): (libc::sockaddr_in, libc::sockaddr_in6) =
            (std::mem::zeroed(), std::mem::zeroed());
        let (address, length) = match to {
            SocketAddr::V4(a) => {
                v4.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap();
                v4.sin_addr.s_addr = u32::from_ne_bytes(a.ip().octets());
                ((&raw const v4).cast(), size_of_val(&v4))
            }
            SocketAddr::V6(a) => {
                v6.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).unwrap();
                v6.sin6_addr.s6_addr = a.ip().octets();
                ((&raw const v6).cast(), size_of_val(&v6))
            }
        };
        let mut calls = Calls::default();
        for _ in 0..count {
            let sent = libc::sendto(
                socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                address,
                libc::socklen_t::try_from(length).unwrap(),
            );
            if sent < 0 {
                *calls.failed.entry(io::Error::last_os_error().raw_os_error().unwrap()).or_default() += 1;
            } else {
                calls.ok += 1;
            }
        }
        calls
    }
}
