//! Whom a call reaches: what the socket says its far end is, who answers, and what he says.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use clap::ValueEnum;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it is asked.
#[derive(Clone, Copy, ValueEnum)]
pub enum How {
    /// connect(2) of TCP
    Connect,
    /// connect(2) of UDP
    UdpConnect,
    /// sendto(2) of UDP, from a socket that is not connected
    UdpSend,
}

/// Asks so often, each time from a new socket, and prints a line each: `PEER TEXT`, or the errno. PEER is the far end
/// by getpeername(2), or of a socket that is not connected the sender of the answer.
pub fn ask(how: How, to: SocketAddr, count: u64) {
    for _ in 0..count {
        match ask_once(how, to) {
            Ok((peer, text)) => println!("{peer} {text}"),
            Err(error) => println!("{}", error.raw_os_error().unwrap_or(-1)),
        }
    }
}

fn ask_once(how: How, to: SocketAddr) -> io::Result<(SocketAddr, String)> {
    if matches!(how, How::Connect) {
        let mut connection = TcpStream::connect(to)?;
        let mut text = String::new();
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.read_to_string(&mut text)?;
        return Ok((connection.peer_addr()?, text));
    }
    let socket = UdpSocket::bind(crate::any(to))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut text = [0; 64];
    let (length, peer) = if matches!(how, How::UdpConnect) {
        socket.connect(to)?;
        socket.send(b"?")?;
        (socket.recv(&mut text)?, socket.peer_addr()?)
    } else {
        socket.send_to(b"?", to)?;
        socket.recv_from(&mut text)?
    };
    Ok((peer, String::from_utf8_lossy(&text[..length]).into_owned()))
}
