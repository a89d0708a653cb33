//! What is done to the devices of a line, whatever they are. But for [`make`], all of it happens in the network namespace
//! of the calling thread.

use std::{
    fs, io,
    os::fd::RawFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    tc::{TcAttribute, TcHandle, TcMessage, TcOption},
};

use super::LineError;
use crate::{
    guard::sysctl,
    rtnl::{Rtnl, device_name},
    target::{NetNs, inside},
};

/// The largest MTU that a veth takes; no packet is larger than that, and 14 bytes of header.
const VETH_MTU: u32 = 65_535;

/// How long a device of this name may still be there: that of one of us who was killed goes a moment after him.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes a device in a namespace, waiting for an old one of the same name or number to go.
pub fn make(
    namespace: &NetNs,
    name: &str,
    index: u32,
    make: impl Fn() -> io::Result<()> + Send,
) -> Result<(), LineError> {
    let until = Instant::now() + PATIENCE;
    let attempts = move || {
        loop {
            match make() {
                Err(error) if is_taken(&error) && Instant::now() < until => {
                    thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    };
    inside(namespace, attempts)?.map_err(|error| {
        if is_taken(&error) {
            LineError::Taken { name: name.to_owned(), index, namespace: namespace.inode }
        } else {
            LineError::step(&format!("making the network device {name}"), namespace)(error)
        }
    })
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EBUSY))
}

/// Makes a pair of veth devices: one here, the other in the namespace of the descriptor, with the same number.
pub fn add_pair(index: u32, name: &str, peer: &str, namespace: RawFd) -> io::Result<()> {
    let mut there = LinkMessage::default();
    there.header.index = index;
    there.attributes = end(peer);
    there.attributes.push(LinkAttribute::NetNsFd(namespace));
    let mut here = LinkMessage::default();
    here.header.index = index;
    here.attributes = end(name);
    here.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(there))),
    ]));
    Rtnl::open()?.tell(RouteNetlinkMessage::NewLink(here), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
}

/// One queue: packets of several could overtake each other.
fn end(name: &str) -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(VETH_MTU),
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
    ]
}

/// Deletes a device. One that is not there is fine.
pub fn delete(index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    match Rtnl::open()?.tell(RouteNetlinkMessage::DelLink(message), NLM_F_ACK) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// Changes attributes of a device.
pub fn change(index: u32, attributes: Vec<LinkAttribute>) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    Rtnl::open()?.tell(RouteNetlinkMessage::SetLink(message), NLM_F_ACK)
}

/// Switches a device on.
pub fn up(index: u32) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Rtnl::open()?.tell(RouteNetlinkMessage::SetLink(message), NLM_F_ACK)
}

/// Gives a device a queueing discipline.
pub fn queue(index: u32, kind: &str, options: Vec<TcOption>) -> io::Result<()> {
    let mut message = TcMessage::with_index(i32::try_from(index).map_err(io::Error::other)?);
    message.header.parent = TcHandle::ROOT;
    message.attributes = vec![TcAttribute::Kind(kind.to_owned())];
    if !options.is_empty() {
        message.attributes.push(TcAttribute::Options(options));
    }
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    Rtnl::open()?.tell(RouteNetlinkMessage::NewQueueDiscipline(message), flags)
}

/// Switches IPv6 off on a device, before it is up: the kernel would send packets of its own through it, to look for
/// neighbours and routers. Where a kernel has no IPv6, that is how it should be.
pub fn disable_ipv6(name: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys/net/ipv6/conf").join(name).join("disable_ipv6");
    match fs::read_to_string(&path) {
        Ok(value) if value.trim() == "1" => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => sysctl::write(&path, "1"),
    }
}

/// Whether a device is there and switched on.
pub fn is_up(index: u32) -> io::Result<bool> {
    let Some(name) = device_name(index) else { return Ok(false) };
    let addresses = nix::ifaddrs::getifaddrs()?;
    let mut ours = addresses.filter(|a| a.interface_name.as_bytes() == name.as_bytes());
    Ok(ours.any(|a| a.flags.contains(nix::net::if_::InterfaceFlags::IFF_UP)))
}
