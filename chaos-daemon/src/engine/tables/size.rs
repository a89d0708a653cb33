//! How big the kernel's tables are: as big as an experiment needs, with room for what may change while it runs.

use chaos_common::{
    MAX_RULES,
    line::DEFAULT_PACKETS,
    scope::{MAX_FLOWS, MAX_NEW_FLOWS},
    table::{MAX_BLOCKS, MAX_ROWS, MAX_SHORT_CUTS, RowId},
};

use crate::config::Problem;

/// Numbers of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Rules.
    pub rules: usize,
    /// Sets of clauses.
    pub rows: usize,
    /// 256-way nodes of the address trie.
    pub blocks: usize,
    /// Its short cuts.
    pub short_cuts: usize,
    /// Connections whose beginning is remembered.
    pub new_flows: usize,
    /// Connections of which a rule knows something else.
    pub flows: usize,
    /// Connections of whose lives something is known.
    pub life: usize,
    /// Connections whose packets keep their order while they wait.
    pub order: usize,
    /// Packets that may wait.
    pub waiting: usize,
}

impl Size {
    /// As many as there can be.
    pub const LIMIT: Self = Self {
        rules: MAX_RULES,
        rows: MAX_ROWS,
        blocks: MAX_BLOCKS,
        short_cuts: MAX_SHORT_CUTS,
        new_flows: MAX_NEW_FLOWS,
        flows: MAX_FLOWS,
        life: MAX_FLOWS,
        order: MAX_FLOWS,
        waiting: DEFAULT_PACKETS as usize,
    };

    /// One of each.
    pub const LEAST: Self = Self {
        rules: 1,
        rows: 1,
        blocks: 1,
        short_cuts: 1,
        new_flows: 1,
        flows: 1,
        life: 1,
        order: 1,
        waiting: 1,
    };

    /// With room for host names that get more addresses.
    #[must_use]
    pub fn with_room(self) -> Self {
        let room = |used: usize, least: usize, limit: usize| (used * 2).max(least).min(limit);
        Self {
            rules: self.rules.max(1),
            rows: room(self.rows, 128, MAX_ROWS),
            blocks: room(self.blocks, 64, MAX_BLOCKS),
            short_cuts: room(self.short_cuts, 128, MAX_SHORT_CUTS),
            new_flows: self.new_flows.max(1),
            flows: self.flows.max(1),
            life: self.life.max(1),
            order: self.order.max(1),
            waiting: self.waiting.max(1),
        }
    }

    /// Refuses what is more than there is room for.
    pub fn within(self, limit: Self) -> Result<(), Problem> {
        let fits = self.rules <= limit.rules
            && self.rows <= limit.rows
            && self.blocks <= limit.blocks
            && self.short_cuts <= limit.short_cuts;
        if fits {
            return Ok(());
        }
        Err(Problem::at(0..0, "the faults name too many addresses or ports", "in all of the faults together").help(
            format!(
                "they take {} sets of clauses, {} nodes and {} short cuts of the address trie, and {}, {} and {} are to be \
                 had: name networks instead of single addresses",
                self.rows, self.blocks, self.short_cuts, limit.rows, limit.blocks, limit.short_cuts
            ),
        ))
    }
}

/// One of the two places that tables can stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// 0 or 1.
    pub generation: u32,
    /// How much each of them holds.
    pub capacity: Size,
}

impl Half {
    /// The first, before it is known how big it must be.
    pub const FIRST: Self = Self { generation: 0, capacity: Size::LIMIT };

    fn start(self, capacity: usize) -> u32 {
        self.generation * u32::try_from(capacity).unwrap_or(0)
    }

    /// The number of its first row.
    pub fn rows(self) -> RowId {
        RowId::try_from(self.start(self.capacity.rows)).unwrap_or(0)
    }

    /// The number of its first block.
    pub fn blocks(self) -> u32 {
        self.start(self.capacity.blocks)
    }

    /// The number of its first short cut.
    pub fn short_cuts(self) -> u32 {
        self.start(self.capacity.short_cuts)
    }

    /// The number of one of its rules.
    pub fn rule(self, index: u32) -> u16 {
        u16::try_from(self.start(self.capacity.rules) + index).unwrap_or(u16::MAX)
    }
}
