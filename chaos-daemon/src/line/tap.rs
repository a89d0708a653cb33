//! The line in this process: a TAP device, whose descriptor gets every frame that is sent there, and from which the
//! device receives what is written to it. It is gone when the descriptor is, which the kernel closes if we die.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    sync::Arc,
};

use chaos_common::line;
use netlink_packet_route::link::LinkAttribute;

use super::{Built, Hook, LineError, Room, device, name, serve::Server};
use crate::{
    bpf::Side,
    target::{NetNs, inside},
};

/// The largest MTU that a TAP takes.
const MTU: u32 = 65_521;

/// Frames that the device keeps until they are read: at least as many as come while other processes run, at most what
/// any kernel will allocate.
const KEPT: (u32, u32) = (4096, 1 << 18);

/// Frames that need not be cut up and summed before they come here: they go back as they are.
const OFFLOADS: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;

/// Large UDP frames, since Linux 6.2.
const UDP_OFFLOADS: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// Builds it.
pub fn open(namespace: &Arc<NetNs>, number: u32, room: Room) -> Result<(Built, Vec<Hook>), LineError> {
    let (index, name) = (line::index(number), name(number));
    // It belongs to the namespace that it is opened in.
    let file = inside(namespace, tun)?.map_err(LineError::NoTun)?;
    device::make(namespace, &name, index, || create(&file, index, &name))?;
    let set_up = || {
        offload(&file)?;
        let length = room.packets.clamp(KEPT.0, KEPT.1);
        device::change(index, vec![LinkAttribute::Mtu(MTU), LinkAttribute::TxQueueLen(length)])?;
        // Frames wait in one place only. Of what this would do for a slow reader, nothing is wanted.
        device::queue(index, "noqueue", Vec::new())?;
        device::disable_ipv6(&name)?;
        device::up(index)
    };
    inside(namespace, set_up)?.map_err(LineError::step(&format!("setting up {name}"), namespace))?;
    let hooks =
        vec![Hook { namespace: namespace.clone(), index, name, side: Side::Ingress, program: line::EXIT }];
    let server = Server::start(file, room)
        .map_err(LineError::step("starting the thread that serves it", namespace))?;
    Ok((Built::Tap(server), hooks))
}

fn tun() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")
}

/// Every frame comes with a `struct virtio_net_hdr` and nothing else before it.
fn create(file: &File, index: u32, name: &str) -> io::Result<()> {
    let number = libc::c_int::try_from(index).map_err(io::Error::other)?;
    // SAFETY: the request reads an int, which the pointer is to.
    done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFINDEX, &raw const number) })?;
    // SAFETY: a structure of integers and bytes, which may all be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less, for the zero at the end.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    // The flags fill all 16 bits of a signed number.
    request.ifr_ifru.ifru_flags = u16::try_from(flags).map_err(io::Error::other)?.cast_signed();
    // SAFETY: the request reads and writes a `struct ifreq`, which the pointer is to.
    done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })
}

/// What the device takes in one piece. Without, it still works, only slower: a kernel that knows none is no error.
fn offload(file: &File) -> io::Result<()> {
    let set = |flags: libc::c_uint| {
        let flags = libc::c_ulong::from(flags);
        // SAFETY: the argument of this request is a number.
        done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, flags) })
    };
    set(OFFLOADS | UDP_OFFLOADS).or_else(|_| set(OFFLOADS))
}

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
