//! Traffic of a target: the helper program in a cgroup, and a sink that notes what arrives and when.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{setsockopt, sockopt::RcvBufForce},
    unistd::Pid,
};
use serde::Deserialize;

use crate::{Cgroup, NetNs, boot_ns, ends_with_us, kct, slow, wait_for};

/// Prepares the helper program, in a namespace and a cgroup.
pub fn helper(ns: &NetNs, cgroup: &Cgroup, words: &[&str]) -> Command {
    let mut command = Command::new(kct());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    ends_with_us(&mut command);
    ns.place(&mut command);
    cgroup.place(&mut command);
    command
}

/// What stands for an errno where a call took longer than the caller waits.
pub const TIMED_OUT: i32 = -1;

/// What `kct` counted: how often a call succeeded, and failed by errno.
#[derive(Debug, Default, Deserialize)]
pub struct Calls {
    /// Successes.
    pub ok: u64,
    /// The boot time before the first call, for verbs that are repeated as fast as can be.
    #[serde(default)]
    pub begun: u64,
    /// How long all of them took, for verbs that measure.
    #[serde(default)]
    pub nanos: u64,
    /// How long each of them took, likewise.
    #[serde(default)]
    pub each: Vec<u64>,
    /// Bits that did not arrive as they were sent, for verbs that look at them.
    #[serde(default)]
    pub wrong: u64,
    /// Failures by the errno's number.
    pub failed: std::collections::BTreeMap<i32, u64>,
}

/// Runs the helper to its end and reads what it counted.
pub fn calls(ns: &NetNs, cgroup: &Cgroup, words: &[&str]) -> Calls {
    counted(helper(ns, cgroup, words))
}

/// The same on the first CPU alone: with a seed, it is known which of its packets are hit.
pub fn calls_on_one_cpu(ns: &NetNs, cgroup: &Cgroup, words: &[&str]) -> Calls {
    let mut command = helper(ns, cgroup, words);
    on_one_cpu(&mut command);
    counted(command)
}

/// Makes the process that `command` starts run on the first CPU alone.
pub fn on_one_cpu(command: &mut Command) {
    let mut first = CpuSet::new();
    first.set(0).unwrap();
    // SAFETY: sched_setaffinity is a plain system call.
    unsafe {
        command.pre_exec(move || Ok(sched_setaffinity(Pid::from_raw(0), &first)?));
    }
}

fn counted(mut command: Command) -> Calls {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A flood of numbered UDP packets from a target; killed when dropped.
pub struct Flood {
    child: Child,
}

impl Flood {
    /// One packet every `every_us` microseconds to `to`, or a slow machine's multiple of that.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, to: SocketAddr, every_us: u32) -> Self {
        let every_us = every_us * slow();
        let child =
            helper(ns, cgroup, &["udp-flood", &to.to_string(), &every_us.to_string()]).spawn().unwrap();
        Self { child }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A server that sends back what it gets; killed when dropped.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts it, and waits until it listens.
    pub fn start(ns: &NetNs, cgroup: &Cgroup, port: &str) -> Self {
        Self::start_with(ns, cgroup, &[port])
    }

    /// Likewise; `words`: its port, and a group of receivers of which it is a member.
    pub fn start_with(ns: &NetNs, cgroup: &Cgroup, words: &[&str]) -> Self {
        let child = helper(ns, cgroup, &[&["serve"], words].concat()).spawn().unwrap();
        let to = (Ipv6Addr::LOCALHOST, words[0].parse().unwrap());
        let listens = || ns.enter(|| std::net::TcpStream::connect(to)).is_ok();
        wait_for("the server listens", Duration::from_secs(5), listens);
        Self { child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// When a packet arrived, and its first 8 bytes.
type Arrival = (u64, [u8; 8]);

/// Receives UDP packets and notes the boot time of each, and what its first 8 bytes are.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    socket: Arc<UdpSocket>,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a free port of `address` in the namespace.
    pub fn new(ns: &NetNs, address: IpAddr) -> Self {
        let socket = ns.enter(|| UdpSocket::bind((address, 0)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        // What arrives at once must not be lost here.
        setsockopt(&socket, RcvBufForce, &(16 << 20)).unwrap();
        let address = socket.local_addr().unwrap();
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let end = Arc::new(AtomicBool::new(false));
        let socket = Arc::new(socket);
        let (receiver, list, stop) = (socket.clone(), arrivals.clone(), end.clone());
        let thread = thread::spawn(move || {
            let mut packet = [0u8; 64];
            while !stop.load(Ordering::Relaxed) {
                if receiver.recv(&mut packet).is_ok() {
                    list.lock().unwrap().push((boot_ns(), *packet.first_chunk().unwrap()));
                }
            }
        });
        Self { address, socket, arrivals, end, thread: Some(thread) }
    }

    /// Sends numbered packets of `size` bytes, from 8 on, to whoever sends them back.
    pub fn ask(&self, to: SocketAddr, count: u64, size: usize, every: Duration) {
        let mut packet = vec![0; size];
        for number in 0..count {
            packet[..8].copy_from_slice(&number.to_le_bytes());
            assert_eq!(size, self.socket.send_to(&packet, to).unwrap());
            thread::sleep(every);
        }
    }

    /// How many have arrived.
    pub fn count(&self) -> usize {
        self.arrivals.lock().unwrap().len()
    }

    /// The first arrival at or after a boot time, waiting up to `limit` for one, or a slow machine's multiple of it.
    pub fn first_since(&self, since_ns: u64, limit: Duration) -> Option<u64> {
        let until = boot_ns() + u64::try_from((limit * slow()).as_nanos()).unwrap();
        loop {
            let found = self.arrivals().into_iter().find(|t| *t >= since_ns);
            if found.is_some() || boot_ns() > until {
                return found;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// All arrivals so far.
    pub fn arrivals(&self) -> Vec<u64> {
        self.arrivals.lock().unwrap().iter().map(|(when, _)| *when).collect()
    }

    /// The numbers in the packets, in the order in which they arrived.
    pub fn numbers(&self) -> Vec<u64> {
        self.arrivals.lock().unwrap().iter().map(|(_, first)| u64::from_le_bytes(*first)).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
