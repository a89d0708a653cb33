//! What a call is about: a socket, and both of its ends.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use chaos_common::call::UNIX_PATH;

use super::{
    headers::{Address, Transport},
    kern,
    offset::{Known, copied, offset},
};
use crate::maps::KCHAOS_UNIX;

const AF_UNSPEC: u16 = 0;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;

/// `SS_CONNECTING` (`include/uapi/linux/net.h`).
const CONNECTING: u32 = 2;

/// `__GFP_FS` (`include/linux/gfp_types.h`): memory for it may come from file systems that write something out first.
const MAY_WRITE_OUT: u32 = 0x80;

/// Both ends of a socket, as far as they are known. Ports are in host byte order.
#[derive(Clone, Copy)]
pub struct Ends {
    /// The far end; 0.0.0.0 if there is none, or it has no such address.
    pub peer: Address,
    /// Protocol and ports, the near one as the source.
    pub transport: Transport,
}

/// Nothing that has ends.
#[inline(always)]
pub fn no_ends() -> Ends {
    Ends { peer: Address::v4([0; 4]), transport: Transport::none() }
}

/// Whether the kernel uses this socket for itself: one that serves file systems or disks (NFS, SMB, iSCSI, Ceph, nbd)
/// must not wait for a file system, and no socket of a process is told so. Whoever happens to send over it sends for
/// all.
#[inline(always)]
pub fn is_of_the_kernel(socket: Known) -> bool {
    let Some(sk) = socket.follow(offset!(socket_sk)) else { return true };
    sk.read::<u32>(offset!(sock_allocation)) & MAY_WRITE_OUT == 0
}

/// Where the address of a far end is. It is read once, when it is known which one it is: the stack has no room for two.
#[derive(Clone, Copy)]
struct Far {
    family: u16,
    /// In network byte order.
    port: u16,
    ip4: Known,
    ip6: Known,
}

impl Far {
    /// As the socket has it.
    #[inline(always)]
    fn of(sk: Known) -> Self {
        Self {
            family: sk.read(offset!(sock_family)),
            port: sk.read(offset!(sock_far_port)),
            ip4: sk.inside(offset!(sock_far_ip4)),
            ip6: sk.inside(offset!(sock_far_ip6)),
        }
    }

    /// As a call names it (`struct sockaddr_in`, `struct sockaddr_in6`). A socket for IPv4 takes no family for its own
    /// (`udp_sendmsg`, net/ipv4/udp.c), one for IPv6 ignores such a name.
    #[inline(always)]
    fn named(name: Known, own: u16) -> Option<Self> {
        let [family, port] = copied::<[u16; 2]>(name.address(), 0)?;
        let family = if family == AF_UNSPEC && own == AF_INET { AF_INET } else { family };
        let is_one = family == AF_INET || family == AF_INET6;
        if is_one { Some(Self { family, port, ip4: name.inside(4), ip6: name.inside(8) }) } else { None }
    }

    #[inline(always)]
    fn is_internet(self) -> bool {
        self.family == AF_INET || self.family == AF_INET6
    }

    #[inline(always)]
    fn address(self) -> Address {
        if self.family == AF_INET {
            return Address::v4(self.ip4.read(0));
        }
        let word = |n: usize| self.ip6.read::<u32>(n * size_of::<u32>());
        Address::unmapped([word(0), word(1), word(2), word(3)])
    }
}

/// Protocol and ports of a socket.
#[inline(always)]
fn transport(sk: Known, far: Far) -> Transport {
    let protocol = match sk.read::<u16>(offset!(sock_protocol)) {
        IPPROTO_MPTCP => IPPROTO_TCP,
        other => other,
    };
    Transport::of_socket(protocol as u8, sk.read::<u16>(offset!(sock_near_port)), u16::from_be(far.port))
}

/// The ends of a socket. What has no internet address has none.
#[inline(always)]
pub fn ends(socket: Known) -> Ends {
    let Some(sk) = socket.follow(offset!(socket_sk)) else { return no_ends() };
    let far = Far::of(sk);
    if !far.is_internet() {
        return no_ends();
    }
    Ends { peer: far.address(), transport: transport(sk, far) }
}

/// The ends of a socket that sends a message: to where it says, if it says so.
#[inline(always)]
pub fn ends_of_message(socket: Known, message: Known) -> Ends {
    let Some(sk) = socket.follow(offset!(socket_sk)) else { return no_ends() };
    let mut far = Far::of(sk);
    if !far.is_internet() {
        return no_ends();
    }
    let transport = transport(sk, far);
    // A connection has its far end, whatever name is given.
    let is_connected = transport.protocol() == IPPROTO_TCP as u8 && transport.destination() != 0;
    if !is_connected
        && let Some(name) = message.follow(offset!(msg_name))
        && let Some(named) = Far::named(name, far.family)
    {
        far = named;
    }
    Ends { peer: far.address(), transport: transport.to(u16::from_be(far.port)) }
}

/// The ends of a socket that is to get this address.
#[inline(always)]
pub fn ends_to_be(socket: Known, address: Known) -> Ends {
    let ends = ends(socket);
    let Some(named) = copied::<[u16; 2]>(address.address(), 0) else { return ends };
    Ends { transport: ends.transport.with_source(u16::from_be(named[1])), ..ends }
}

/// Whether this connect(2) goes on with an earlier one: it has been asked about already.
#[inline(always)]
pub fn is_connecting(socket: Known) -> bool {
    socket.read::<u32>(offset!(socket_state)) == CONNECTING
}

/// The facts that hold for the address of a unix socket; `None` if it is none.
#[inline(always)]
pub fn of_unix(address: Known, length: u32) -> Option<u64> {
    // What is shorter names none, and behind it is nothing that the process has said.
    let names_one = length > size_of::<u16>() as u32 && address.read::<u16>(0) == AF_UNIX;
    if names_one { Some(of_unix_path(address, length)) } else { None }
}

/// The facts that hold for the path behind the family. On its own, as a path takes much of the stack; not global, as a
/// pointer cannot be handed to such a function.
#[inline(never)]
fn of_unix_path(address: Known, length: u32) -> u64 {
    let mut path = [0u64; UNIX_PATH.div_ceil(8)];
    let path_at = size_of::<u16>();
    let from = address.inside(path_at);
    // A path ends with a zero or with the address; a name without a file begins with a zero, and ends with the address.
    let first = from.read::<u8>(0);
    let length = kern::opaque(u64::from(length)) as u32;
    let length = length.wrapping_sub(path_at as u32).min(UNIX_PATH as u32);
    let at = path.as_mut_ptr().cast::<c_void>();
    // SAFETY: no more bytes than there is room for.
    unsafe {
        if first == 0 {
            bpf_probe_read_kernel(at, length, from.pointer());
        } else {
            bpf_probe_read_kernel_str(at, (length + 1).min(UNIX_PATH as u32), from.pointer());
        }
    }
    // Lent: there is no room on the stack for another one.
    let path = &path;
    // SAFETY: nobody writes the entries of this map while programs run.
    unsafe { KCHAOS_UNIX.get(path) }.copied().unwrap_or(0)
}
