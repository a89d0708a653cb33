//! The delay lines of an experiment: one in each network namespace of its target, with our programs on it.
//!
//! What must stay true: a program that may send packets into the line is attached only where there is one. Where none
//! can be made, nothing is attached.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use aya::maps::{Array, HashMap, MapData};
use chaos_common::line::{BYTES_IN, BYTES_LOST, BYTES_OUT, Order, Waiting};

use super::{
    BpfError, Fails, Feature, Level, Object,
    feature::forced,
    tc::{At, Link},
};
use crate::{
    engine::monotonic_ns,
    line::{self, Line, Room, Way},
    target::{NetNs, inside},
};

const TOTALS: &str = "KCHAOS_LINE";
const WAITING: &str = "KCHAOS_WAITING";
const ORDER: &str = "KCHAOS_ORDER";

/// The lines to make: number of the experiment on this host, and what may wait.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// See `chaos_common::line::index`.
    pub number: u32,
    /// In all namespaces together.
    pub room: Room,
}

/// What lines have lost.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Packets that are known to be lost.
    packets: u64,
    /// When it is looked for more (`CLOCK_MONOTONIC`, ns).
    look_at: u64,
    /// At how many it was looked the last time, if there were more.
    looked_up_to: usize,
}

/// Where the packets of a namespace wait.
pub(super) enum Waits {
    /// No fault makes any wait.
    Nowhere,
    /// There should be a line, and there is none.
    Missing,
    /// Here. The devices go before the links on them: as long as packets come out, somebody must be there who knows
    /// them.
    Here {
        /// The devices.
        line: Line,
        /// On them.
        _links: Vec<Link>,
    },
}

impl Waits {
    /// Whether packets cannot wait that should.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// An error if there was a line, and it does not work any more: somebody has removed its device.
    pub(super) fn check(&self, namespace: u64) -> Result<(), BpfError> {
        match self {
            Self::Here { line, .. } if !line.works() => Err(BpfError::LineGone { namespace }),
            _ => Ok(()),
        }
    }
}

impl Object {
    /// Makes a line in `namespace`, if a fault needs one. Where it fails and that is no reason not to start, it is said,
    /// and the namespace is left alone.
    pub(super) fn open_line(&mut self, namespace: &Arc<NetNs>, fails: Fails) -> Result<Waits, BpfError> {
        let Some(Wanted { number, room }) =
            self.line.filter(|_| self.levels.contains_key(&Feature::DelayLine))
        else {
            return Ok(Waits::Nowhere);
        };
        let opened = line::open(namespace, number, room, forced(Feature::DelayLine)).map_err(BpfError::from);
        match (opened.and_then(|line| self.attach_line(line)), fails) {
            (Ok(waits), _) => Ok(waits),
            (Err(error), Fails::Start) => Err(error),
            (Err(error), Fails::Device) => {
                self.remarks.push(format!(
                    "network namespace {}, which joined later, is left alone: {error}",
                    namespace.inode
                ));
                Ok(Waits::Missing)
            }
        }
    }

    fn attach_line(&mut self, line: Line) -> Result<Waits, BpfError> {
        let mut links = Vec::new();
        for hook in line.hooks() {
            let line::Hook { namespace, index, name, side, program } = hook;
            let at = At { namespace, index: *index, device: name, side: *side };
            inside(namespace, || self.attach_tc(Feature::DelayLine, program, &at, &mut links))??;
        }
        if *line.way() != Way::Kernel {
            self.levels.insert(Feature::DelayLine, Level::Reduced);
        }
        Ok(Waits::Here { _links: links, line })
    }

    /// Namespaces that belong to lines themselves.
    pub(super) fn line_namespaces(&self) -> BTreeSet<u64> {
        let lines = self.namespaces.values().filter_map(|namespace| match &namespace.waits {
            Waits::Here { line, .. } => Some(line.hooks()),
            _ => None,
        });
        lines.flatten().map(|hook| hook.namespace.inode).collect()
    }

    /// How packets wait, by the inode of the network namespace, where any do.
    pub(super) fn line_ways(&self) -> Vec<(u64, Way)> {
        let ways = self.namespaces.iter().filter_map(|(inode, namespace)| match &namespace.waits {
            Waits::Here { line, .. } => Some((*inode, line.way().clone())),
            _ => None,
        });
        ways.collect()
    }

    /// Whether something waits in the lines.
    pub fn packets_wait(&self) -> Result<bool, BpfError> {
        Ok(self.levels.contains_key(&Feature::DelayLine) && self.bytes_waiting()? != 0)
    }

    /// Packets that went into the lines and have not come out. When the lines are gone, they are lost.
    pub fn waiting(&self) -> Result<u64, BpfError> {
        let waiting: HashMap<&MapData, u32, Waiting> = self.read(WAITING)?;
        Ok(self.lost.packets + waiting.keys().flatten().count() as u64)
    }

    /// Forgets packets that a line has lost, so that they take no room from others: those that are long due. One that
    /// comes out after all is dropped there, as nobody knows it. Looks every few seconds, and only at so many: where it
    /// stopped it goes on the next time.
    pub fn forget_lost(&mut self) -> Result<(), BpfError> {
        let now = monotonic_ns();
        if !self.levels.contains_key(&Feature::DelayLine)
            || now < self.lost.look_at
            || self.bytes_waiting()? == 0
        {
            return Ok(());
        }
        self.lost.look_at = now + nanos(LOOK_FOR_LOST);
        let due = monotonic_ns().saturating_sub(nanos(OVERDUE));
        let from = std::mem::take(&mut self.lost.looked_up_to);
        let mut waiting: HashMap<&mut MapData, u32, Waiting> = self.map(WAITING)?;
        let numbers: Vec<u32> = waiting.keys().skip(from).take(AT_ONCE).flatten().collect();
        let looked_up_to = if numbers.len() == AT_ONCE { from + AT_ONCE } else { 0 };
        // One that is gone by now has come out after all.
        let packets = numbers.into_iter().filter_map(|number| Some((number, waiting.get(&number, 0).ok()?)));
        let mut overdue: Vec<(u32, Waiting)> = packets.filter(|(_, packet)| packet.release < due).collect();
        overdue.retain(|(number, _)| waiting.remove(number).is_ok());
        self.lost.looked_up_to = looked_up_to;
        self.lost.packets += overdue.len() as u64;
        // Nobody waits for a packet that does not come: its connection begins anew.
        let mut order: HashMap<&mut MapData, u64, Order> = self.map(ORDER)?;
        for connection in overdue.iter().map(|(_, packet)| packet.connection).filter(|c| *c != 0) {
            let _may_be_gone = order.remove(&connection);
        }
        let bytes = overdue.iter().map(|(_, packet)| u64::from(packet.length)).sum::<u64>()
            + self.total(BYTES_LOST)?;
        let mut totals: Array<&mut MapData, u64> = self.map(TOTALS)?;
        totals.set(BYTES_LOST, bytes, 0).map_err(|error| BpfError::Map { name: TOTALS, error })
    }

    fn bytes_waiting(&self) -> Result<u64, BpfError> {
        let gone = self.total(BYTES_OUT)?.wrapping_add(self.total(BYTES_LOST)?);
        Ok(self.total(BYTES_IN)?.wrapping_sub(gone))
    }

    fn total(&self, number: u32) -> Result<u64, BpfError> {
        let totals: Array<&MapData, u64> = self.read(TOTALS)?;
        totals.get(&number, 0).map_err(|error| BpfError::Map { name: TOTALS, error })
    }
}

/// How often it is looked for packets that are lost.
const LOOK_FOR_LOST: Duration = Duration::from_secs(5);

/// At how many it is looked: each takes a system call, and the lease must be extended meanwhile.
const AT_ONCE: usize = 20_000;

/// How long after its time a packet is given up that nobody has.
const OVERDUE: Duration = Duration::from_secs(3);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
