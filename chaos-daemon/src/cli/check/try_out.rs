//! What a trial does to be hit: in the target's cgroup, with both address families, one packet to itself or one connect.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::cli::{Exit, Failure, output};

/// How long a packet over the loopback is waited for. It arrives while it is sent; this is for very slow machines.
const PATIENCE: Duration = Duration::from_millis(300);

/// From when on a packet was delayed, and not held up by a busy machine.
const LATE: Duration = Duration::from_millis(50);

/// Arguments of the trial's process.
#[derive(Debug, clap::Args)]
pub struct TryOutArgs {
    /// What to do
    #[arg(value_enum)]
    what: What,
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// A UDP packet to itself
    Packet,
    /// connect(2) of a UDP socket
    Call,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// The packet arrived, the call succeeded.
    Passed,
    /// The packet arrived, as late as the trial's fault makes it.
    Late,
    /// The packet did not arrive.
    Lost,
    /// The call failed with this errno.
    Failed(i32),
    /// This host does not have the address family.
    Absent,
}

/// Tries it with IPv4 and with IPv6, and prints both [`Fate`]s.
pub fn try_out(args: &TryOutArgs) -> Result<Exit, Failure> {
    let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let fates = addresses.map(|address| fate(args.what, address));
    output::json(&fates)?;
    Ok(Exit::Done)
}

fn fate(what: What, address: IpAddr) -> Fate {
    let socket = match UdpSocket::bind((address, 0)) {
        Ok(socket) => socket,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or_default();
            let absent = matches!(number, libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL);
            return if absent { Fate::Absent } else { Fate::Failed(number) };
        }
    };
    let result = match what {
        What::Packet => return packet(&socket),
        What::Call => socket.local_addr().and_then(|own| socket.connect(own)),
    };
    result.map_or_else(|error| Fate::Failed(error.raw_os_error().unwrap_or_default()), |()| Fate::Passed)
}

fn packet(socket: &UdpSocket) -> Fate {
    let sent = Instant::now();
    match arrives(socket) {
        Ok(()) if sent.elapsed() >= LATE => Fate::Late,
        Ok(()) => Fate::Passed,
        Err(_) => Fate::Lost,
    }
}

fn arrives(socket: &UdpSocket) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"kchaos check", socket.local_addr()?)?;
    socket.recv(&mut [0; 32]).map(drop)
}
