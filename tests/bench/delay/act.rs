//! The target's side: this program again, as a process in the target's cgroup and namespace that sends what is asked.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The first word by which this program becomes a sender.
pub const WORD: &str = "act";

/// Bytes of a packet's number and of its time.
pub const HEAD: usize = 16;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Send numbered packets with the time at which each is sent
    Udp(Udp),
    /// Send over one TCP connection until the other end closes it, or for so long
    Tcp { to: SocketAddr, seconds: u64 },
}

#[derive(clap::Args)]
struct Udp {
    count: u64,
    /// Nanoseconds from one to the next
    every: u64,
    /// Sockets, each with a port of its own, that send by turns
    sockets: usize,
    /// Bytes of a packet
    size: usize,
    /// Nanoseconds after which no more are sent
    within: u64,
    /// Where to; the sockets take these by turns
    #[arg(required = true)]
    to: Vec<SocketAddr>,
}

/// What a sender of packets has to say.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Sent {
    /// How many.
    pub packets: u64,
    /// Of these, how many the system refused.
    pub refused: u64,
    /// How long it took.
    pub nanos: u64,
}

/// The monotonic clock, in nanoseconds.
pub fn monotonic() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// A clock, in nanoseconds.
pub fn nanoseconds(clock: ClockId) -> u64 {
    u64::try_from(Duration::from(clock_gettime(clock).unwrap()).as_nanos()).unwrap()
}

/// Sends, and says on standard output what came of it.
pub fn main() {
    let words = std::env::args().skip(1);
    match Args::parse_from(words).act {
        Act::Udp(udp) => println!("{}", serde_json::to_string(&send(&udp)).unwrap()),
        Act::Tcp { to, seconds } => stream(to, Duration::from_secs(seconds)),
    }
}

fn send(udp: &Udp) -> Sent {
    let sockets: Vec<UdpSocket> = udp.to.iter().cycle().take(udp.sockets).map(|to| connected(*to)).collect();
    let mut packet = vec![7; udp.size.max(HEAD)];
    let (every, begun) = (Duration::from_nanos(udp.every), Instant::now());
    let (mut packets, mut refused) = (0, 0);
    for (number, socket) in (0..udp.count).zip(sockets.iter().cycle()) {
        let due = Duration::from_nanos(udp.every * number);
        // A clock that is read for every packet costs little against sending it.
        if begun.elapsed().as_nanos() > u128::from(udp.within) {
            break;
        }
        if let Some(wait) = due.checked_sub(begun.elapsed())
            && !every.is_zero()
        {
            thread::sleep(wait);
        }
        packet[..8].copy_from_slice(&number.to_le_bytes());
        packet[8..HEAD].copy_from_slice(&monotonic().to_le_bytes());
        refused += u64::from(socket.send(&packet).is_err());
        packets += 1;
    }
    Sent { packets, refused, nanos: u64::try_from(begun.elapsed().as_nanos()).unwrap() }
}

fn connected(to: SocketAddr) -> UdpSocket {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(to).unwrap();
    socket
}

fn stream(to: SocketAddr, limit: Duration) {
    let mut connection = TcpStream::connect(to).unwrap();
    let (block, begun) = (vec![7; 128 << 10], Instant::now());
    // A receiver that has seen enough closes.
    while begun.elapsed() < limit && connection.write_all(&block).is_ok() {}
}
