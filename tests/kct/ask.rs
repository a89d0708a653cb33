//! Questions over connected UDP sockets, and the ICMP errors that answer them.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};

use crate::Calls;

/// Asks `count` times, each from a socket of its own, and counts how that ended: by an answer, by the errno of an error, or
/// not at all within two seconds. Errors count that a socket hears of only if it asks to (`IP_RECVERR`).
pub fn ask(connected: SocketAddr, to: SocketAddr, count: u64) -> Calls {
    let mut calls = Calls::default();
    for _ in 0..count {
        let socket = UdpSocket::bind(crate::any(to)).unwrap();
        socket.connect(connected).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        hear_of_errors(&socket, to);
        let begun = Instant::now();
        let result = ask_one(&socket, connected, to);
        calls.each.push(crate::nanos(begun.elapsed()));
        match result {
            Ok(_) => calls.ok += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *calls.failed.entry(-1).or_default() += 1;
            }
            Err(error) => *calls.failed.entry(error.raw_os_error().unwrap()).or_default() += 1,
        }
    }
    calls.nanos = calls.each.iter().sum();
    calls
}

/// What comes from elsewhere does not reach a connected socket: there, that it was sent counts.
fn ask_one(socket: &UdpSocket, connected: SocketAddr, to: SocketAddr) -> io::Result<usize> {
    if connected == to {
        socket.send(&[7; 16])?;
        socket.recv(&mut [0; 16])
    } else {
        socket.send_to(&[7; 16], to)
    }
}

fn hear_of_errors(socket: &UdpSocket, to: SocketAddr) {
    let asked = match to {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    };
    asked.unwrap();
}
