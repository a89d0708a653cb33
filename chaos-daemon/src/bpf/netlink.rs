//! tc over rtnetlink, as much of it as clsact takes: list, add and delete filters, add and delete the clsact qdisc.
//!
//! Of what others have put there only the header and the kind are read: a filter that this code does not understand
//! must never keep an experiment from starting or from ending. A [`Tc`] speaks to the network namespace of the thread
//! that opened it.

use std::{io, os::fd::RawFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NlasIterator, Parseable,
};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption},
};

use crate::rtnl::Rtnl;

/// Kinds of messages (`linux/rtnetlink.h`).
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;

/// Attributes (`linux/rtnetlink.h`).
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const CHAIN: u16 = 11;

/// Length of `struct tcmsg`.
const HEADER: usize = 20;

/// Every protocol (`linux/if_ether.h`).
const ETH_P_ALL: u16 = 3;

const CLSACT: &str = "clsact";

/// A side of a device, or of its clsact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the device receives.
    Ingress,
    /// What it sends.
    Egress,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }

    const fn parent(self) -> TcHandle {
        let minor = match self {
            Self::Ingress => TcHandle::MIN_INGRESS,
            Self::Egress => TcHandle::MIN_EGRESS,
        };
        TcHandle { major: 0xffff, minor }
    }
}

/// Where a filter sits among the others of its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Lower runs first; 1 is the first.
    pub priority: u16,
    /// Its number among the filters of this priority.
    pub handle: u32,
}

/// A filter on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Where.
    pub place: Place,
    /// The chain it is in; packets start in chain 0.
    pub chain: u32,
    /// Of which classifier: "bpf", "u32", "flower", ...
    pub kind: String,
    /// Of a bpf filter, the name it was given.
    pub name: Option<String>,
    /// Of a bpf filter, the id of its program.
    pub program: Option<u32>,
}

/// A socket to the kernel.
pub struct Tc {
    rtnl: Rtnl,
}

impl Tc {
    /// Opens one in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(Self { rtnl: Rtnl::open()? })
    }

    /// Whether a device has a clsact qdisc.
    pub fn has_clsact(&self, device: u32) -> io::Result<bool> {
        let message = message(device, TcHandle::CLSACT, Vec::new())?;
        // The answer is a notification, which comes to whoever asks for the echo.
        let flags = NLM_F_ACK | NLM_F_ECHO;
        match self.ask(RouteNetlinkMessage::GetQueueDiscipline(message), flags, NEW_QDISC) {
            Ok(replies) => Ok(replies.iter().any(|r| r.kind == CLSACT)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Adds a clsact qdisc, which does nothing until a filter is added. `AlreadyExists` if there is one.
    pub fn add_clsact(&self, device: u32) -> io::Result<()> {
        let message = clsact(device)?;
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.rtnl.tell(RouteNetlinkMessage::NewQueueDiscipline(message), flags)
    }

    /// Deletes the clsact qdisc, and every filter on it; never an ingress qdisc, which would be in the same place.
    pub fn delete_clsact(&self, device: u32) -> io::Result<()> {
        let message = clsact(device)?;
        self.rtnl.tell(RouteNetlinkMessage::DelQueueDiscipline(message), NLM_F_ACK)
    }

    /// The filters of one side; none where there is no clsact.
    pub fn filters(&self, device: u32, side: Side) -> io::Result<Vec<Filter>> {
        let message = message(device, side.parent(), Vec::new())?;
        let replies = self.ask(RouteNetlinkMessage::GetTrafficFilter(message), NLM_F_DUMP, NEW_FILTER)?;
        Ok(replies.into_iter().map(Reply::into_filter).collect())
    }

    /// Adds a filter that runs a program on everything. `AlreadyExists` if its place is taken.
    pub fn add_filter(
        &self,
        device: u32,
        side: Side,
        place: Place,
        program: RawFd,
        name: &str,
    ) -> io::Result<()> {
        let program = u32::try_from(program).map_err(io::Error::other)?;
        let options = [
            TcFilterBpfOption::ProgFd(program),
            TcFilterBpfOption::ProgName(name.to_owned()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let mut message = message(device, side.parent(), Vec::new())?;
        locate(&mut message.header, place);
        message.attributes = vec![
            TcAttribute::Kind(TcFilterBpf::KIND.to_owned()),
            TcAttribute::Options(options.map(TcOption::Bpf).into()),
        ];
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.rtnl.tell(RouteNetlinkMessage::NewTrafficFilter(message), flags)
    }

    /// Deletes one bpf filter.
    pub fn delete_filter(&self, device: u32, side: Side, place: Place) -> io::Result<()> {
        let kind = vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())];
        let mut message = message(device, side.parent(), kind)?;
        locate(&mut message.header, place);
        self.rtnl.tell(RouteNetlinkMessage::DelTrafficFilter(message), NLM_F_ACK)
    }

    fn ask(&self, request: RouteNetlinkMessage, flags: u16, wanted: u16) -> io::Result<Vec<Reply>> {
        let payloads = self.rtnl.ask(request, flags, wanted)?;
        Ok(payloads.iter().filter_map(|payload| Reply::parse(payload)).collect())
    }
}

/// What is read of a reply.
struct Reply {
    header: TcHeader,
    kind: String,
    chain: u32,
    options: Vec<TcFilterBpfOption>,
}

impl Reply {
    fn parse(payload: &[u8]) -> Option<Self> {
        let header = TcHeader::parse(payload).ok()?;
        let mut reply = Self { header, kind: String::new(), chain: 0, options: Vec::new() };
        for attribute in NlasIterator::new(payload.get(HEADER..)?).filter_map(Result::ok) {
            match attribute.kind() {
                KIND => reply.kind = text(attribute.value()),
                CHAIN => reply.chain = number(attribute.value()).unwrap_or(0).cast_unsigned(),
                OPTIONS if reply.kind == TcFilterBpf::KIND => {
                    let options = NlasIterator::new(attribute.value()).filter_map(Result::ok);
                    reply.options = options.filter_map(|o| TcFilterBpfOption::parse(&o).ok()).collect();
                }
                _ => {}
            }
        }
        Some(reply)
    }

    fn into_filter(self) -> Filter {
        let [high, low, ..] = self.header.info.to_be_bytes();
        let mut filter = Filter {
            place: Place { priority: u16::from_be_bytes([high, low]), handle: self.header.handle.into() },
            chain: self.chain,
            kind: self.kind,
            name: None,
            program: None,
        };
        for option in self.options {
            match option {
                TcFilterBpfOption::ProgName(name) => filter.name = Some(name),
                TcFilterBpfOption::ProgId(id) => filter.program = Some(id),
                _ => {}
            }
        }
        filter
    }
}

/// The first four bytes, in the byte order of this machine.
fn number(value: &[u8]) -> Option<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// A string of the kernel's, which ends with a zero byte.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').into()
}

fn message(device: u32, parent: TcHandle, attributes: Vec<TcAttribute>) -> io::Result<TcMessage> {
    let mut message = TcMessage::with_index(i32::try_from(device).map_err(io::Error::other)?);
    message.header.parent = parent;
    message.attributes = attributes;
    Ok(message)
}

fn clsact(device: u32) -> io::Result<TcMessage> {
    let kind = vec![TcAttribute::Kind(CLSACT.to_owned())];
    let mut message = message(device, TcHandle::CLSACT, kind)?;
    message.header.handle = TcHandle { major: 0xffff, minor: 0 };
    Ok(message)
}

/// Priority in the upper half, protocol in network byte order in the lower.
fn locate(header: &mut TcHeader, place: Place) {
    header.handle = place.handle.into();
    header.info = u32::from(place.priority) << 16 | u32::from(ETH_P_ALL.to_be());
}
