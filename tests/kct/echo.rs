//! A server that sends back what it gets, and clients that measure how long that takes.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::{Calls, any, nanos};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Until killed, over both protocols and both families; as a member of a group, too.
pub fn serve(port: u16, group: Option<IpAddr>) -> ! {
    let udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    // What arrives at once should not be lost here, where that can be.
    let _refused = setsockopt(&udp, RcvBufForce, &(16 << 20));
    match group {
        Some(IpAddr::V4(group)) => udp.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED).unwrap(),
        Some(IpAddr::V6(group)) => udp.join_multicast_v6(&group, 0).unwrap(),
        None => {}
    }
    thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut packet) {
            let _gone = udp.send_to(&packet[..length], from);
        }
    });
    let tcp = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    loop {
        if let Ok((mut connection, _)) = tcp.accept() {
            thread::spawn(move || {
                let mut reader = connection.try_clone().unwrap();
                let _closed = std::io::copy(&mut reader, &mut connection);
            });
        }
    }
}

/// Packets with a running number.
pub fn number(to: SocketAddr, count: u64, every: Duration) -> Calls {
    let socket = UdpSocket::bind(any(to)).unwrap();
    let begun = Instant::now();
    let mut calls = Calls::default();
    for n in 0..count {
        let due = every * u32::try_from(n).unwrap();
        if let Some(wait) = due.checked_sub(begun.elapsed()) {
            thread::sleep(wait);
        }
        calls.ok += u64::from(socket.send_to(&n.to_le_bytes(), to).is_ok());
    }
    calls
}

/// Over UDP.
pub fn udp(to: SocketAddr, count: u64) -> Calls {
    // Not connected: who is asked as one of a group answers under his own address.
    let socket = UdpSocket::bind(any(to)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    measured(count, || {
        socket.send_to(&[7; 16], to).unwrap();
        socket.recv(&mut [0; 16]).is_ok()
    })
}

/// Over TCP, without the time to connect.
pub fn tcp(to: SocketAddr, count: u64) -> Calls {
    let mut connection = TcpStream::connect(to).unwrap();
    connection.set_nodelay(true).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    measured(count, || {
        connection.write_all(&[7; 16]).unwrap();
        connection.read_exact(&mut [0; 16]).is_ok()
    })
}

fn measured(count: u64, mut trip: impl FnMut() -> bool) -> Calls {
    let begun = Instant::now();
    let mut calls = Calls::default();
    for _ in 0..count {
        let sent = Instant::now();
        calls.ok += u64::from(trip());
        calls.each.push(nanos(sent.elapsed()));
    }
    Calls { nanos: nanos(begun.elapsed()), ..calls }
}
