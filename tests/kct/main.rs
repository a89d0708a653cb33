//! A process to be the target of a test: makes calls, counts how they end, sends floods.

mod ask;
mod board;
mod cost;
mod desk;
mod disk;
mod each;
mod echo;
mod end;
mod http;
mod ping;
mod reach;
mod shop;
mod syscalls;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Connect over TCP, `count` times in all, from `threads` threads
    Connect {
        to: SocketAddr,
        count: u64,
        #[arg(default_value_t = 1)]
        threads: u64,
    },
    /// Connect over TCP, each time from another port: the first one, and those behind it
    ConnectFrom { to: SocketAddr, first_port: u16, count: u16 },
    /// Connect over UDP
    UdpConnect { to: SocketAddr, count: u64 },
    /// Send UDP packets with sendto from an unconnected socket; one thread may be told to wait between them
    UdpSend {
        to: SocketAddr,
        count: u64,
        #[arg(default_value_t = 1)]
        threads: u64,
        #[arg(default_value_t = 0)]
        every_us: u64,
    },
    /// Send UDP packets with a running number in them, one every so many microseconds
    UdpNumber { to: SocketAddr, count: u64, every_us: u64 },
    /// Send UDP packets that are sent back, one after the other, and say how long it took
    UdpEcho { to: SocketAddr, count: u64 },
    /// The same over one TCP connection that is there already
    TcpEcho { to: SocketAddr, count: u64 },
    /// Send UDP packets from sockets that are connected, and say how each was answered, or refused
    UdpAsk { to: SocketAddr, count: u64 },
    /// The same from sockets that are connected to one address, with sendto to another
    UdpElsewhere { connected: SocketAddr, to: SocketAddr, count: u64 },
    /// Be one end of a TCP connection, send as many bytes as each line of standard input says, and say how it ended
    TcpEnd {
        at: SocketAddr,
        #[arg(long)]
        listen: bool,
        /// Ask every second whether the other end is still there
        #[arg(long)]
        probe: bool,
    },
    /// Be a service over HTTP with a cache, which is waited for so many milliseconds, or for ever
    Shop {
        listen: SocketAddr,
        cache: SocketAddr,
        limit_ms: Option<u64>,
        /// Use one connection to it again and again
        #[arg(long)]
        keep: bool,
    },
    /// Be a service over HTTP that starts a program for each order, the next one if that cannot take it, and waits for
    /// each so many milliseconds, or for ever
    Desk {
        listen: SocketAddr,
        #[arg(required = true)]
        by: Vec<String>,
        #[arg(long)]
        limit_ms: Option<u64>,
        /// The status of an answer to an order that nobody could take
        #[arg(long, default_value_t = 503)]
        failure: u16,
    },
    /// Send UDP packets as fast as can be, and say how long it took
    UdpTime { to: SocketAddr, count: u64 },
    /// Send UDP packets until killed, one every so many microseconds
    UdpFlood { to: SocketAddr, every_us: u64 },
    /// Send UDP packets one by one and print a line: `x` for each that fails, `.` for each that does not
    UdpPattern { to: SocketAddr, count: u64 },
    /// Send UDP packets of 5,000 bytes
    UdpSendBig { to: SocketAddr, count: u64 },
    /// Ask whom calls reach
    Reach { how: reach::How, to: SocketAddr, count: u64 },
    /// Send ICMP echo requests; the port does not count
    Ping { to: SocketAddr, count: u64 },
    /// Send so many blocks of 64 KiB over TCP to ourselves, read them, and say how long it took and how many bits came wrong
    TcpBulk { at: SocketAddr, count: u64 },
    /// Accept TCP connections and receive UDP packets on a port until killed, those to a group of receivers too, and send
    /// back what comes
    Serve { port: u16, group: Option<IpAddr> },
    /// Connect over TCP, say `connected`, and send whatever comes on standard input
    TcpHold { to: SocketAddr },
    /// Read lines such as `udp-send 10.0.0.1:80` and make these calls, whatever comes of them
    CallEach,
    /// Make system calls in rounds, as the memory says that the file `board` is, on files in the folder `place`
    Syscalls { board: PathBuf, place: PathBuf },
    /// Count the instructions of a call (read, write, open, send), in rounds, as the memory says that the file `board` is
    Cost { board: PathBuf, call: String },
    /// Use as much of a CPU as there is, until killed
    Burn,
    /// Write so many MiB of memory, and keep them until killed
    Fill { mib: usize },
    /// Read a disk or file from its beginning to its end, again and again until killed, past the caches if asked
    Disk {
        path: PathBuf,
        #[arg(long)]
        direct: bool,
    },
    /// Do nothing until killed
    Wait,
}

#[derive(Default, Serialize)]
struct Calls {
    ok: u64,
    /// The boot time before the first of them, in nanoseconds, where that is asked.
    begun: u64,
    /// How long all of them took, where that is asked.
    nanos: u64,
    /// How long each of them took, likewise.
    each: Vec<u64>,
    /// Bits that did not arrive as they were sent, where that is known.
    wrong: u64,
    failed: BTreeMap<i32, u64>,
}

fn main() {
    let calls = match Args::parse().act {
        Act::Connect { to, count, threads } => {
            spread(count, threads, || TcpStream::connect_timeout(&to, Duration::from_secs(20)).map(drop))
        }
        Act::ConnectFrom { to, first_port, count } => {
            let port = AtomicU32::new(first_port.into());
            spread(count.into(), 1, || {
                let port = u16::try_from(port.fetch_add(1, Ordering::Relaxed)).unwrap();
                each::connect_from(port, to)
            })
        }
        Act::UdpConnect { to, count } => {
            let socket = UdpSocket::bind(any(to)).unwrap();
            spread(count, 1, || socket.connect(to))
        }
        Act::UdpSend { to, count, threads, every_us } => {
            let socket = UdpSocket::bind(any(to)).unwrap();
            let (every, begun, sent) = (Duration::from_micros(every_us), Instant::now(), AtomicU32::new(0));
            spread(count, threads, || {
                let due = every * sent.fetch_add(1, Ordering::Relaxed);
                if let Some(wait) = due.checked_sub(begun.elapsed()) {
                    thread::sleep(wait);
                }
                socket.send_to(&[7; 16], to).map(drop)
            })
        }
        Act::UdpPattern { to, count } => {
            let socket = UdpSocket::bind(any(to)).unwrap();
            let line: String =
                (0..count).map(|_| if socket.send_to(&[7; 16], to).is_ok() { '.' } else { 'x' }).collect();
            println!("{line}");
            return;
        }
        Act::UdpSendBig { to, count } => {
            let socket = UdpSocket::bind(any(to)).unwrap();
            spread(count, 1, || socket.send_to(&[7; 5000], to).map(drop))
        }
        Act::Shop { listen, cache: at, limit_ms, keep } => {
            shop::serve(listen, shop::Cache { at, limit: limit_ms.map(Duration::from_millis), keep });
            return;
        }
        Act::Desk { listen, by, limit_ms, failure } => {
            desk::serve(listen, desk::Work { by, limit: limit_ms.map(Duration::from_millis), failure });
            return;
        }
        Act::UdpTime { to, count } => {
            let socket = UdpSocket::bind(any(to)).unwrap();
            let begun = Instant::now();
            let ok = (0..count).filter(|_| socket.send_to(&[7; 16], to).is_ok()).count() as u64;
            Calls { ok, nanos: nanos(begun.elapsed()), ..Calls::default() }
        }
        Act::UdpNumber { to, count, every_us } => echo::number(to, count, Duration::from_micros(every_us)),
        Act::UdpEcho { to, count } => echo::udp(to, count),
        Act::TcpEcho { to, count } => echo::tcp(to, count),
        Act::UdpAsk { to, count } => ask::ask(to, to, count),
        Act::UdpElsewhere { connected, to, count } => ask::ask(connected, to, count),
        Act::TcpEnd { at, listen, probe } => return end::run(at, listen, probe),
        Act::UdpFlood { to, every_us } => flood(to, Duration::from_micros(every_us)),
        Act::Ping { to, count } => ping::send(to, count),
        Act::TcpBulk { at, count } => bulk(at, count),
        Act::Serve { port, group } => echo::serve(port, group),
        Act::TcpHold { to } => {
            let mut connection = TcpStream::connect(to).unwrap();
            println!("connected");
            let _closed = std::io::copy(&mut std::io::stdin(), &mut connection);
            return;
        }
        Act::CallEach => return each::make(),
        Act::Reach { how, to, count } => return reach::ask(how, to, count),
        Act::Syscalls { board, place } => syscalls::run(&board, &place),
        Act::Cost { board, call } => cost::run(&board, &call),
        Act::Burn => loop {
            std::hint::spin_loop();
        },
        Act::Fill { mib } => {
            let filled = vec![7u8; mib << 20];
            loop {
                std::hint::black_box(&filled);
                thread::park();
            }
        }
        Act::Disk { path, direct } => disk::read(&path, direct),
        Act::Wait => loop {
            thread::park();
        },
    };
    println!("{}", serde_json::to_string(&calls).unwrap());
}

fn any(like: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    (ip, 0).into()
}

fn spread(count: u64, threads: u64, call: impl Fn() -> std::io::Result<()> + Sync) -> Calls {
    let begun = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap());
    let calls = Mutex::new(Calls { begun: nanos(begun), ..Calls::default() });
    thread::scope(|scope| {
        for thread in 0..threads {
            let share = count / threads + u64::from(thread < count % threads);
            let (call, calls) = (&call, &calls);
            scope.spawn(move || {
                for _ in 0..share {
                    let result = call();
                    let mut calls = calls.lock().unwrap();
                    match result {
                        Ok(()) => calls.ok += 1,
                        // connect_timeout reports its own time-out without an errno.
                        Err(e) => *calls.failed.entry(e.raw_os_error().unwrap_or(-1)).or_default() += 1,
                    }
                }
            });
        }
    });
    let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap());
    Calls { nanos: nanos(now.saturating_sub(begun)), ..calls.into_inner().unwrap() }
}

fn flood(to: SocketAddr, every: Duration) -> ! {
    let socket = UdpSocket::bind(any(to)).unwrap();
    let begun = Instant::now();
    for n in 0u64.. {
        let _lost = socket.send_to(&n.to_le_bytes(), to);
        let due = every * u32::try_from(n + 1).unwrap_or(u32::MAX);
        if let Some(wait) = due.checked_sub(begun.elapsed()) {
            thread::sleep(wait);
        }
    }
    unreachable!("a flood of 2^64 packets")
}

fn bulk(at: SocketAddr, count: u64) -> Calls {
    const BLOCK: usize = 64 * 1024;
    const BYTE: u8 = 7;
    let listener = TcpListener::bind(at).unwrap();
    let begun = Instant::now();
    let reader = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let (mut block, mut wrong) = (vec![0; BLOCK], 0);
        let ok = (0..count).take_while(|_| {
            let whole = connection.read_exact(&mut block).is_ok();
            wrong += block.iter().map(|byte| u64::from((byte ^ BYTE).count_ones())).sum::<u64>();
            whole
        });
        (ok.count() as u64, wrong)
    });
    let mut connection = TcpStream::connect(at).unwrap();
    let block = vec![BYTE; BLOCK];
    for _ in 0..count {
        connection.write_all(&block).unwrap();
    }
    let (ok, wrong) = reader.join().unwrap();
    Calls { ok, wrong, nanos: nanos(begun.elapsed()), ..Calls::default() }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
