//! The match tables, mapped into this process's memory: a generation is written like any other memory, and a system
//! call afterwards says that it counts.

use std::{
    mem::offset_of,
    os::fd::{AsFd, AsRawFd},
};

use aya::maps::MapData;
use chaos_common::{
    MAX_RULES,
    call::{COMM, MAX_CALLERS, MAX_INODES, MAX_ONGOING, MAX_UNIX, Ongoing, UNIX_PATH},
    counters::Counters,
    delay,
    line::Waiting,
    reset::Life,
    rule::Rule,
    scope::{MAX_PROTECTED, MAX_TARGETS},
    table::{Block, Fields, GENERATIONS, Row, ShortCut},
};
use memmap2::{MmapMut, MmapOptions};

use super::BpfError;
use crate::engine::{Half, Size, Tables, quantiles};

const FIELDS: &str = "KCHAOS_FIELDS";
const RULES: &str = "KCHAOS_RULES";
const ROWS: &str = "KCHAOS_ROWS";
const BLOCKS: &str = "KCHAOS_BLOCKS";
const SHORT_CUTS: &str = "KCHAOS_SHORTCUT";
const QUANTILES: &str = "KCHAOS_QUANTILE";
const FLOWS: &str = "KCHAOS_FLOWS";
const ORDER: &str = "KCHAOS_ORDER";
const FLOW_STATE: &str = "KCHAOS_FLOWSTAT";
const LIFE: &str = "KCHAOS_LIFE";
const WAITING: &str = "KCHAOS_WAITING";

/// The tables that have two generations.
#[derive(Debug)]
pub struct Mapped {
    fields: Table,
    rules: Table,
    rows: Table,
    blocks: Table,
    short_cuts: Table,
    /// It has one generation only: what is in it never changes.
    quantiles: Table,
    /// How much one generation holds.
    pub size: Size,
}

/// One of them, and its map, which lives as long.
#[derive(Debug)]
struct Table {
    memory: MmapMut,
    _map: MapData,
}

/// How many entries the maps must have whose size depends on the experiment.
pub fn entries(size: Size) -> [(&'static str, u32); 9] {
    let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let both = |one: usize| number(one * GENERATIONS);
    [
        (RULES, both(size.rules)),
        (ROWS, both(size.rows)),
        (BLOCKS, both(size.blocks)),
        (SHORT_CUTS, both(size.short_cuts)),
        (FLOWS, number(size.new_flows)),
        (ORDER, number(size.order)),
        (FLOW_STATE, number(size.flows)),
        (LIFE, number(size.life)),
        (WAITING, number(size.waiting)),
    ]
}

/// Memory that all maps of an experiment take in the kernel, in bytes, with tables of this size and so many CPUs.
pub fn bytes(size: Size, cpus: usize) -> usize {
    // What the kernel adds to the key and value of a hash table's entry, rounded up (`kernel/bpf/hashtab.c`).
    const ENTRY: usize = 64;
    let halves = size_of::<Fields>()
        + size.rules * size_of::<Rule>()
        + size.rows * size_of::<Row>()
        + size.blocks * size_of::<Block>()
        + size.short_cuts * size_of::<ShortCut>();
    let entries = MAX_TARGETS + MAX_PROTECTED + size.new_flows + size.flows + size.order;
    let lives = size.life * (ENTRY + size_of::<u64>() + size_of::<Life>());
    let waiting = size.waiting * (ENTRY + size_of::<u64>() + size_of::<Waiting>());
    let states = MAX_RULES * 32 + delay::TABLES * 8;
    // What rules ask of calls: a key and eight bytes each.
    let calls = MAX_INODES * (ENTRY + 16)
        + MAX_CALLERS * (2 * ENTRY + 16 + COMM + 8)
        + MAX_UNIX * (ENTRY + UNIX_PATH.next_multiple_of(8) + 8)
        + MAX_ONGOING * (ENTRY + 8 + size_of::<Ongoing>());
    halves * GENERATIONS
        + MAX_RULES * size_of::<Counters>() * cpus
        + entries * (ENTRY + 16)
        + lives
        + waiting
        + states
        + calls
}

impl Mapped {
    /// Maps them. `take` hands out the maps by name.
    pub fn new(
        size: Size,
        mut take: impl FnMut(&'static str) -> Result<MapData, BpfError>,
    ) -> Result<Self, BpfError> {
        let mut table = |name, entries: usize, bytes: usize| Table::new(take(name)?, name, entries * bytes);
        let both = GENERATIONS;
        Ok(Self {
            fields: table(FIELDS, both, size_of::<Fields>())?,
            rules: table(RULES, both * size.rules, size_of::<Rule>())?,
            rows: table(ROWS, both * size.rows, size_of::<Row>())?,
            blocks: table(BLOCKS, both * size.blocks, size_of::<Block>())?,
            short_cuts: table(SHORT_CUTS, both * size.short_cuts, size_of::<ShortCut>())?,
            quantiles: table(QUANTILES, delay::TABLES, size_of::<i64>())?,
            size,
        })
    }

    /// Where the tables of a generation stand.
    pub fn half(&self, generation: u32) -> Half {
        Half { generation, capacity: self.size }
    }

    /// Writes everything but the rules. No program may be using this generation.
    pub fn write(&mut self, tables: &Tables) {
        let generation = tables.scope.generation as usize;
        let at = |member: usize| generation * size_of::<Fields>() + member;
        for (root, member) in tables.roots.iter().zip([offset_of!(Fields, root4), offset_of!(Fields, root6)])
        {
            self.fields.put(at(member), &root[..]);
        }
        let members = [offset_of!(Fields, far_port), offset_of!(Fields, near_port)];
        for (ports, member) in tables.ports.iter().zip(members) {
            self.fields.put(at(member), &ports[..]);
        }
        self.fields.put(at(offset_of!(Fields, protocol)), &tables.protocol);
        self.fields.put(at(offset_of!(Fields, rule_of)), &tables.rule_of);
        self.fields.put(at(offset_of!(Fields, matching)), &tables.matching);
        self.fields.put(at(offset_of!(Fields, portless)), &[tables.portless]);
        self.fields.put(at(offset_of!(Fields, protected_word)), &[tables.protected.0]);
        self.fields.put(at(offset_of!(Fields, protected)), &[tables.protected.1]);
        self.rows.put(generation * self.size.rows * size_of::<Row>(), &tables.rows);
        self.blocks.put(generation * self.size.blocks * size_of::<Block>(), &tables.blocks);
        self.short_cuts.put(generation * self.size.short_cuts * size_of::<ShortCut>(), &tables.short_cuts);
    }

    /// Writes the distributions that delays are drawn from.
    pub fn write_quantiles(&mut self) {
        self.quantiles.put(0, &quantiles().into_iter().map(i64::from).collect::<Vec<_>>());
    }

    /// Writes the rules of a generation.
    pub fn write_rules(&mut self, generation: u32, rules: &[Rule]) {
        self.rules.put(generation as usize * self.size.rules * size_of::<Rule>(), rules);
    }
}

impl Table {
    fn new(map: MapData, name: &'static str, bytes: usize) -> Result<Self, BpfError> {
        // SAFETY: the memory is the map's own, which only the kernel's programs share; they read what they find and are
        // checked to be safe whatever that is.
        let mapped = unsafe { MmapOptions::new().len(bytes).map_mut(map.fd().as_fd().as_raw_fd()) };
        let memory =
            mapped.map_err(|error| BpfError::Io { what: format!("mapping {name} into memory"), error })?;
        Ok(Self { memory, _map: map })
    }

    /// Copies items to a place, counted in bytes. What would be past the end is left out: sizes are checked before.
    fn put<T: Copy>(&mut self, at: usize, items: &[T]) {
        let length = size_of_val(items);
        let Some(place) = self.memory.get_mut(at..at + length) else { return };
        // SAFETY: both are `length` bytes long, and the items have no padding (`chaos_common::layout`).
        unsafe { std::ptr::copy_nonoverlapping(items.as_ptr().cast::<u8>(), place.as_mut_ptr(), length) };
    }
}
