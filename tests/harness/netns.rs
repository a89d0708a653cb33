//! Network namespaces made for a test.

use std::{
    fs::File,
    net::TcpStream,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns, unshare};

/// How long the other end of a pair is waited for, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A network namespace with its loopback up. It goes when this and the last process in it are gone.
pub struct NetNs {
    handle: File,
}

impl NetNs {
    /// Makes one.
    pub fn new() -> Self {
        let handle = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        })
        .join()
        .unwrap();
        let ns = Self { handle };
        ns.ip("link set lo up");
        ns
    }

    /// Two of them that know of each other, joined by a veth pair: `near` with 10.99.0.1 and `fd99::1`, `far` with 10.99.0.2 and `fd99::2`.
    pub fn joined() -> (Self, Self) {
        let (near, far) = (Self::new(), Self::new());
        near.ip(&format!("link add near type veth peer name far netns {}", far.path()));
        // No addresses but ours: the kernel's own comes a while after the start, when tests have looked already.
        near.ip("link set near addrgenmode none");
        far.ip("link set far addrgenmode none");
        near.ip("addr add 10.99.0.1/24 dev near");
        near.ip("addr add fd99::1/64 dev near nodad");
        far.ip("addr add 10.99.0.2/24 dev far");
        far.ip("addr add fd99::2/64 dev far nodad");
        near.ip("link set near up");
        far.ip("link set far up");
        // A device hears of its neighbours up to a second after it is up. Nobody listens there; that he says so is enough.
        for address in ["10.99.0.2:1", "[fd99::2]:1"] {
            let connected = near.enter(|| TcpStream::connect_timeout(&address.parse().unwrap(), PATIENCE));
            assert_eq!(Some(libc::ECONNREFUSED), connected.unwrap_err().raw_os_error(), "{address}");
        }
        (near, far)
    }

    /// Runs `work` on a thread inside. Sockets opened there stay there.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.handle, CloneFlags::CLONE_NEWNET).unwrap();
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Makes the process that `command` starts begin inside.
    pub fn place(&self, command: &mut Command) {
        let fd = self.handle.as_raw_fd();
        // SAFETY: setns is async-signal-safe, and the descriptor lives as long as `self`, which spawning borrows.
        unsafe {
            command.pre_exec(move || match libc::setns(fd, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    }

    /// Runs a program inside and answers with what it prints.
    pub fn output(&self, words: &str) -> String {
        self.output_of(&words.split(' ').collect::<Vec<_>>())
    }

    /// The same with words that may have spaces in them.
    pub fn output_of(&self, words: &[&str]) -> String {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        self.place(&mut command);
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a device's packets leave with whole checksums, as if they came over a wire: on the far side they are looked at.
    pub fn checksums_in_software(&self, device: &str) {
        // `linux/ethtool.h`
        const SET_TX_CHECKSUMS: u32 = 0x17;
        let mut value = [SET_TX_CHECKSUMS, 0];
        // SAFETY: plain data, for which zeroes are fine.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        // The address of what stands on this thread's stack is good on another one, too, while we wait for it.
        let request = std::ptr::from_mut(&mut request) as usize;
        self.enter(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            // SAFETY: a request as this call takes it, which lives until it returns.
            let failed =
                unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, request as *mut libc::ifreq) };
            assert_eq!(0, failed, "{}", std::io::Error::last_os_error());
        });
    }

    /// Gives nftables these commands, one on each line.
    pub fn nft(&self, commands: &str) {
        for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.output_of(&["nft", line]);
        }
    }

    /// `ip WORDS` inside.
    pub fn ip(&self, words: &str) -> String {
        self.output(&format!("ip {words}"))
    }

    /// Its path for `ip link set netns`.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }
}

impl Default for NetNs {
    fn default() -> Self {
        Self::new()
    }
}
