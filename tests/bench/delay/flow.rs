//! Our side of the traffic: two joined namespaces, senders in a cgroup in the one, and receivers in the other that note
//! when the kernel took each packet in.

use std::{
    io::IoSliceMut,
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use kchaos_tests::{Cgroup, NetNs, ends_with_us, wait_for};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit},
        socket::{
            ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt,
            sockopt::{RcvBufForce, ReceiveTimestampns},
        },
        time::TimeSpec,
    },
    time::ClockId,
};

use super::act::{self, HEAD, Sent, monotonic};

/// The receivers' addresses: `far` of [`NetNs::joined`].
pub const FAR: [&str; 2] = ["10.99.0.2", "fd99::2"];

/// Where everything is measured.
pub struct Pair {
    /// The target's namespace.
    pub near: NetNs,
    /// The receivers'.
    pub far: NetNs,
    /// The target.
    pub cgroup: Cgroup,
}

impl Pair {
    /// Makes one.
    pub fn new() -> Self {
        let (near, far) = NetNs::joined();
        // The first packet has to wait until the neighbour is found, and IPv6 takes a second for it.
        for address in FAR {
            let to = far.enter(|| UdpSocket::bind((address, 0)).unwrap());
            to.set_nonblocking(true).unwrap();
            let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
            let from = near.enter(|| UdpSocket::bind(any).unwrap());
            wait_for("the neighbour answers", Duration::from_secs(5), || {
                let _sent = from.send_to(b"hello", to.local_addr().unwrap());
                thread::sleep(Duration::from_millis(10));
                to.recv(&mut [0; 8]).is_ok()
            });
        }
        Self { near, far, cgroup: Cgroup::new("bench") }
    }

    /// This program as a sender in the target, with these words.
    pub fn sender(&self, words: &[String]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg(act::WORD).args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        ends_with_us(&mut command);
        self.near.place(&mut command);
        self.cgroup.place(&mut command);
        command
    }
}

/// Packets to send.
#[derive(Clone, Copy)]
pub struct Packets {
    /// How many.
    pub count: u64,
    /// From one to the next.
    pub every: Duration,
    /// How many flows they are spread over.
    pub flows: usize,
    /// Bytes of each.
    pub size: usize,
    /// What is not sent by then is not sent at all, where the machine is too slow for it.
    pub within: Option<Duration>,
}

impl Packets {
    /// Starts to send them to both addresses of a receiver, by turns.
    pub fn start(self, pair: &Pair, receiver: &Receiver) -> Sender {
        self.start_to(pair, &receiver.addresses())
    }

    /// Starts to send them to these addresses, by turns.
    pub fn start_to(self, pair: &Pair, to: &[SocketAddr]) -> Sender {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
        let (flows, size) = (self.flows as u64, self.size as u64);
        let numbers = [self.count, nanos(self.every), flows, size, self.within.map_or(u64::MAX, nanos)];
        let mut words = vec!["udp".to_owned()];
        words.extend(numbers.iter().map(ToString::to_string));
        words.extend(to.iter().map(ToString::to_string));
        let mut command = pair.sender(&words);
        // Each flow is a file.
        raise_files(&mut command, self.flows as u64 + 64);
        Sender(command.spawn().unwrap())
    }
}

/// Lets a process open so many files, as far as this one may.
fn raise_files(command: &mut Command, files: u64) {
    use std::os::unix::process::CommandExt as _;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = libc::rlimit { rlim_cur: files.clamp(soft, hard.max(soft)), rlim_max: hard };
    // SAFETY: setrlimit is async-signal-safe.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// A process that sends; killed when dropped.
pub struct Sender(Child);

impl Sender {
    /// Waits for its end.
    pub fn wait(mut self) -> Sent {
        let mut output = String::new();
        std::io::Read::read_to_string(self.0.stdout.as_mut().unwrap(), &mut output).unwrap();
        serde_json::from_str(&output).unwrap_or_else(|e| panic!("a sender said {output:?}: {e}"))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its number.
    pub number: u64,
    /// When it was sent, by the monotonic clock in nanoseconds.
    pub sent: u64,
    /// When the kernel took it in, by the same.
    pub at: u64,
}

impl Arrival {
    /// How long it was on its way, in milliseconds.
    pub fn took(self) -> f64 {
        // Negative where a clock was set meanwhile: to be seen, not to be hidden.
        (self.at as f64 - self.sent as f64) / 1e6
    }
}

/// Receives packets of both families and notes them.
pub struct Receiver {
    port: u16,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// On a free port in the far namespace.
    pub fn new(pair: &Pair) -> Self {
        let socket = pair.far.enter(|| UdpSocket::bind("[::]:0").unwrap());
        setsockopt(&socket, RcvBufForce, &(64 << 20)).unwrap();
        setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (arrivals, end) = (Arc::default(), Arc::default());
        let (list, stop) = (Arc::clone(&arrivals), Arc::clone(&end));
        let thread = thread::spawn(move || receive(&socket, &list, &stop));
        Self { port, arrivals, end, thread: Some(thread) }
    }

    /// Where it listens, in both families.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        FAR.map(|address| (address.parse::<std::net::IpAddr>().unwrap(), self.port).into())
    }

    /// The same as the peers of a fault.
    pub fn peers(&self) -> String {
        let [four, six] = self.addresses();
        format!("peer = [\"{four}\", \"{six}\"]")
    }

    /// How many have arrived.
    pub fn count(&self) -> u64 {
        self.arrivals.lock().unwrap().len() as u64
    }

    /// All that have arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    /// Waits until `count` have arrived or none has for `patience`, and takes them.
    pub fn take(&self, count: u64, patience: Duration) -> Vec<Arrival> {
        let (mut last, mut since) = (self.count(), monotonic());
        while last < count && u128::from(monotonic() - since) < patience.as_nanos() {
            thread::sleep(Duration::from_millis(5));
            let now = self.count();
            if now != last {
                (last, since) = (now, monotonic());
            }
        }
        std::mem::take(&mut *self.arrivals.lock().unwrap())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Packets that are taken with one call.
const BATCH: usize = 64;

fn receive(socket: &UdpSocket, list: &Mutex<Vec<Arrival>>, end: &AtomicBool) {
    let mut buffers = [[0u8; HEAD]; BATCH];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(cmsg_space!(TimeSpec)));
    let mut batch = Vec::with_capacity(BATCH);
    while !end.load(Ordering::Relaxed) {
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) {
            Ok(messages) => {
                let ahead = ahead();
                batch.extend(messages.filter_map(|message| {
                    let stamp = message.cmsgs().ok()?.find_map(|control| match control {
                        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                        _ => None,
                    })?;
                    let head: [u8; HEAD] = message.iovs().next()?.try_into().ok()?;
                    let (number, sent) = head.split_at(8);
                    Some(Arrival {
                        number: u64::from_le_bytes(number.try_into().ok()?),
                        sent: u64::from_le_bytes(sent.try_into().ok()?),
                        at: u64::try_from(stamp.as_nanos()).ok()?.checked_add_signed(-ahead)?,
                    })
                }));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => panic!("cannot receive: {error}"),
        }
        list.lock().unwrap().append(&mut batch);
    }
}

/// How far the clock that the kernel stamps packets with is ahead of the one that senders read: it can be set at any
/// time, but runs as fast.
fn ahead() -> i64 {
    let before = monotonic();
    let real = act::nanoseconds(ClockId::CLOCK_REALTIME);
    let after = monotonic();
    real.cast_signed() - u64::midpoint(before, after).cast_signed()
}
