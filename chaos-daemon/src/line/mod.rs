//! A delay line: a network device in the target's namespace that packets wait in.
//!
//! `chaos_common::line` says how a packet gets there and what is written over its addresses. It comes out where the
//! device receives, not before its time. There are two ways to build one. In the [`kernel`], packets wait in the
//! queueing discipline `fq` of a veth device. Where the kernel has no `fq`, the device is a [`tap`], and
//! packets wait in this process: the thread in [`serve`] reads them, keeps them in a [`queue`], and writes them back.
//!
//! What must stay true: a line leaves nothing behind, even if we are killed. The TAP is held by a descriptor; the far end
//! of the pair is in a network namespace that only a descriptor of ours keeps ([`crate::target::private_namespace`]).
//! And nothing of a line ever reaches the network: it has no addresses, no IPv6, and nothing is forwarded to it.

mod device;
mod error;
mod fq;
mod kernel;
mod queue;
mod serve;
mod tap;

use std::{fmt, sync::Arc};

use chaos_common::line;

pub use error::LineError;
pub use queue::Room;

use crate::{
    bpf::Side,
    guard::loopback::Loopback,
    target::{NetNs, inside},
};

/// How packets wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// In the kernel.
    Kernel,
    /// In this process, which costs two copies and two system calls for each.
    Tap {
        /// Why not in the kernel.
        why: String,
    },
}

impl Way {
    /// Its name in results.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kernel => "fq",
            Self::Tap { .. } => "tap",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("packets wait in the kernel (sch_fq)"),
            Self::Tap { why } => write!(
                f,
                "packets wait in kchaos itself (TAP), up to some milliseconds late on a busy host, and are lost if it is \
                 killed, as {why}"
            ),
        }
    }
}

/// Where a program must sit for the line to work. It holds nothing: the device may be gone before it.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The network namespace of the device.
    pub namespace: Arc<NetNs>,
    /// Number of the device there.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Which side of it.
    pub side: Side,
    /// The program.
    pub program: &'static str,
}

/// A delay line in one network namespace; gone when this is dropped. What waits in it then is lost: nothing is delivered
/// before it is due.
pub struct Line {
    namespace: Arc<NetNs>,
    index: u32,
    way: Way,
    hooks: Vec<Hook>,
    // Dropped in this order: settings are needed as long as the device is there.
    built: Built,
    _settings: Loopback,
}

/// What holds the devices.
enum Built {
    Kernel(#[expect(dead_code, reason = "it removes the devices when it is dropped")] kernel::Pair),
    Tap(serve::Server),
}

/// Builds a line in a network namespace, for the experiment of this number, which is its own on this host and below
/// [`line::LINES`]: by way of the kernel if that can be and `second_best` is not asked for. Nothing is left behind if it
/// fails.
///
/// `room` is what may wait. By way of the kernel, only packets are counted there; the programs must count bytes.
pub fn open(namespace: &Arc<NetNs>, number: u32, room: Room, second_best: bool) -> Result<Line, LineError> {
    if number >= line::LINES {
        return Err(LineError::Number(number));
    }
    let settings = Loopback::set(namespace)?;
    let by_kernel = if second_best {
        Err(LineError::NoKernelLine("the second-best way was asked for".to_owned()))
    } else {
        kernel::open(namespace, number, room)
    };
    let (way, (built, hooks)) = match by_kernel {
        Err(LineError::NoKernelLine(why)) => {
            (Way::Tap { why }, tap::open(namespace, number, with_overhead(room))?)
        }
        built => (Way::Kernel, built?),
    };
    let index = line::index(number);
    Ok(Line { namespace: namespace.clone(), index, way, hooks, built, _settings: settings })
}

/// The programs count the bytes of packets; a queue in our memory also those around them. It must never be the first
/// to be full.
fn with_overhead(room: Room) -> Room {
    const AROUND: u64 = 256;
    Room { bytes: room.bytes + AROUND * u64::from(room.packets), ..room }
}

impl Line {
    /// How packets wait in it.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// Where programs must sit, all of them, before a packet is redirected to the line. They need not be removed: they
    /// go with the devices.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// Whether it still works. Nobody should remove the device of a line or take it down; but whoever may, can.
    pub fn works(&self) -> bool {
        let served = match &self.built {
            Built::Kernel(_) => true,
            Built::Tap(server) => server.runs(),
        };
        let up = || device::is_up(self.index);
        served && inside(&self.namespace, up).is_ok_and(|up| up.is_ok_and(|up| up))
    }
}

/// The name of the line device of an experiment.
fn name(number: u32) -> String {
    format!("kchaos{number}")
}
