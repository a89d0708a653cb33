//! The faults of an experiment, compiled: rules, and the tables that say which clauses a packet or call matches.
//!
//! A clause is one way to match, "these addresses with these ports", and one bit. [`clauses`] hands them out,
//! [`ports`] and [`addresses`] turn what they ask for into the tables of `chaos_common::table`, [`rows`] stores every
//! set of clauses once; [`place`] does all of it for one fault.

mod addresses;
mod clauses;
mod place;
mod ports;
mod quantiles;
mod rows;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use chaos_common::{
    delay::{CORRELATION, DISTRIBUTION, JITTER, UNIFORM},
    draw::rule_seed,
    pattern,
    rate::{OF_FLOW, SHARED},
    reset::looks_at_life,
    rule::{FLAG_FLOWS, FLAG_NEW_ONLY, FLAG_SHADOW, Rule, action},
    scope::{self, FLAG_PROTECTED_CGROUPS, MAX_FLOWS, MAX_NEW_FLOWS, Scope},
    table::{Block, HOOKS, Row, RowId, ShortCut, WORDS},
    uses::Uses,
};

use super::facts::Facts;
use crate::{
    config::{Experiment, Mode, Problem},
    guard::protected::Protected,
};
use addresses::Trie;
use clauses::Clauses;
use place::{Placed, place, protect};
pub use quantiles::quantiles;
use rows::{Bits, Rows};
pub use size::{Half, Size};

/// Host names with all their addresses.
pub type Addresses = BTreeMap<String, BTreeSet<IpAddr>>;

/// Everything the kernel side is filled with. Times in the rules are relative to the start: see [`Tables::rules_from`].
#[derive(Debug)]
pub struct Tables {
    /// Whose packets and calls, how many rules there are, and which generation these tables are.
    pub scope: Scope,
    /// The faults in file order.
    pub rules: Vec<Rule>,
    /// By the first two bytes of an address, IPv4 and IPv6.
    pub roots: [Box<[u32; 1 << 16]>; 2],
    /// By port of the far and of the near end.
    pub ports: [Box<[RowId; 1 << 16]>; 2],
    /// By hook and protocol.
    pub protocol: [[RowId; 256]; HOOKS],
    /// Clause to rule.
    pub rule_of: Vec<u16>,
    /// Clauses that match.
    pub matching: [u64; WORDS],
    /// The row of packets without ports.
    pub portless: RowId,
    /// The word of the clauses that protect, and which they are.
    pub protected: (u16, u64),
    /// The trie of addresses.
    pub blocks: Vec<Block>,
    /// Its short cuts.
    pub short_cuts: Vec<ShortCut>,
    /// Sets of clauses.
    pub rows: Vec<Row>,
    /// Ids of protected cgroups.
    pub protected_cgroups: Vec<u64>,
    /// What rules ask of calls.
    pub facts: Box<Facts>,
    /// Packets that may wait in the delay line.
    pub packets: u32,
    /// Words in which there are clauses.
    pub words: u32,
}

impl Tables {
    /// Compiles `experiment`. `addresses` holds every host name in it; `seed` is what its draws start from; `half` is
    /// where in the kernel's tables it will stand.
    pub fn compile(
        experiment: &Experiment,
        addresses: &Addresses,
        protected: &Protected,
        seed: u64,
        half: Half,
    ) -> Result<Self, Problem> {
        let mut clauses = Clauses::default();
        let mut placed = Vec::new();
        for (index, fault) in (0u32..).zip(&experiment.faults) {
            let mut one = place(&mut clauses, fault, addresses, half.rule(index))?;
            one.rule.seed = rule_seed(seed, index);
            one.rule.deadline_ns = nanos(experiment.duration);
            one.rule.counters = index;
            if experiment.mode == Mode::Shadow {
                one.rule.flags |= FLAG_SHADOW;
            }
            placed.push(one);
        }
        let mut scope = Scope {
            rules: u32::try_from(placed.len()).unwrap_or(0),
            generation: half.generation,
            flags: what_is_asked(&placed),
            line_bytes: experiment.line_room.bytes,
            ..Scope::default()
        };
        if experiment.target.get_ref().selector.is_of_namespaces() {
            placed.iter_mut().for_each(Placed::meets_at_devices);
        }
        let mut guarded = (0, 0);
        let mut protected_cgroups = Vec::new();
        if !experiment.allow_protected {
            guarded = protect(&mut clauses, protected)?;
            protected_cgroups = protected.cgroups.keys().copied().collect();
            // Even if there are none yet: sshd may be restarted while the experiment runs.
            scope.flags |= FLAG_PROTECTED_CGROUPS;
        }
        let packets = experiment.line_room.packets;
        let mut tables = Self::build(scope, &clauses, placed, guarded, protected_cgroups, packets, half);
        tables.facts = Box::new(Facts::of(&experiment.faults, &mut tables.rules)?);
        tables.scope.flags |= tables.facts.flags();
        tables.size().within(half.capacity)?;
        Ok(tables)
    }

    fn build(
        scope: Scope,
        clauses: &Clauses,
        placed: Vec<Placed>,
        protected: (u16, u64),
        protected_cgroups: Vec<u64>,
        packets: u32,
        half: Half,
    ) -> Self {
        let mut rows = Rows::new(half.rows());
        let mut trie = Trie::new(half.blocks(), half.short_cuts());
        let roots = [&clauses.peers4, &clauses.peers6].map(|networks| trie.root(networks, &mut rows));
        let ports = [&clauses.far, &clauses.near].map(|ranges| ports::table(ranges, &mut rows));
        let protocol = protocols(&placed, &mut rows);
        let portless = clauses.portless_row(&mut rows);
        let Trie { blocks, short_cuts, .. } = trie;
        Self {
            scope,
            rules: placed.into_iter().map(|p| p.rule).collect(),
            roots,
            ports,
            protocol,
            rule_of: clauses.rule_of.clone(),
            matching: clauses.matching.0,
            portless,
            protected,
            blocks,
            short_cuts,
            rows: rows.into_rows(),
            protected_cgroups,
            facts: Box::default(),
            packets,
            words: clauses.words(),
        }
    }

    /// The rules with their times on the boot clock, for an experiment that starts at `start_ns`.
    pub fn rules_from(&self, start_ns: u64) -> Vec<Rule> {
        let at = |offset: u64| start_ns.saturating_add(offset);
        self.rules
            .iter()
            .map(|r| Rule { start_ns: at(r.start_ns), deadline_ns: at(r.deadline_ns), ..*r })
            .collect()
    }

    /// Whether a delay is drawn from one of the tables of quantiles.
    pub fn draws_from_tables(&self) -> bool {
        let draws = |rule: &Rule| {
            rule.action == action::DELAY && rule.numbers[JITTER] > 0 && rule.numbers[DISTRIBUTION] != UNIFORM
        };
        self.rules.iter().any(draws)
    }

    /// What the programs must be able to do for them. Host names that get other addresses change nothing about it.
    pub fn uses(&self) -> Uses {
        Uses::of(&self.rules, self.words)
    }

    /// Whether a rule remembers something from one match to the next, which takes locks.
    pub fn remembers(&self) -> bool {
        let delays_correlate = |rule: &Rule| rule.action == action::DELAY && rule.numbers[CORRELATION] > 0;
        self.rules.iter().any(|rule| {
            rule.limit > 0
                || rule.pattern != pattern::INDEPENDENT
                || rule.action == action::RATE
                || delays_correlate(rule)
        })
    }

    /// How much of the kernel's tables they take.
    pub fn size(&self) -> Size {
        Size {
            rules: self.rules.len(),
            rows: self.rows.len(),
            blocks: self.blocks.len(),
            short_cuts: self.short_cuts.len(),
            new_flows: if self.scope.flags & scope::FLAG_NEW_FLOWS == 0 { 0 } else { MAX_NEW_FLOWS },
            flows: if self.rules.iter().any(has_state_of_flows) { MAX_FLOWS } else { 0 },
            life: if self.scope.flags & scope::FLAG_LIFE == 0 { 0 } else { MAX_FLOWS },
            order: if self.rules.iter().any(makes_wait) { MAX_FLOWS } else { 0 },
            waiting: if self.rules.iter().any(makes_wait) { self.packets as usize } else { 0 },
        }
    }
}

/// Whether a rule sends packets into the delay line.
fn makes_wait(rule: &Rule) -> bool {
    action::is_one_of(rule.action, action::WAITS)
}

/// What the programs must find out about packets because some rule asks.
fn what_is_asked(placed: &[Placed]) -> u32 {
    let asks = |flag: u32| placed.iter().any(|p| p.rule.flags & flag != 0);
    let by_connection = asks(FLAG_FLOWS | FLAG_NEW_ONLY) || placed.iter().any(|p| tells_apart(&p.rule));
    let flows = if by_connection { scope::FLAG_FLOWS } else { 0 };
    let new = if asks(FLAG_NEW_ONLY) { scope::FLAG_NEW_FLOWS } else { 0 };
    let life = if placed.iter().any(|p| asks_for_life(&p.rule)) { scope::FLAG_LIFE } else { 0 };
    let resets = if placed.iter().any(|p| p.rule.action == action::RESET) { scope::FLAG_RESETS } else { 0 };
    flows | new | life | resets
}

/// Whether a rule wants to know how old connections are, or what they have carried.
fn asks_for_life(rule: &Rule) -> bool {
    rule.action == action::RESET && looks_at_life(&rule.numbers)
}

/// Whether connections must be told apart for a rule although it hits any of them: because packets that wait keep their
/// order in each, or because it knows something of each.
fn tells_apart(rule: &Rule) -> bool {
    makes_wait(rule) || has_state_of_flows(rule) || asks_for_life(rule)
}

/// Whether a rule remembers something of each connection.
pub fn has_state_of_flows(rule: &Rule) -> bool {
    pattern::is_of_flows(rule.pattern) || rule.action == action::RATE && rule.numbers[SHARED] == OF_FLOW
}

/// By hook and protocol: the clauses of the rules that apply there.
fn protocols(placed: &[Placed], rows: &mut Rows) -> [[RowId; 256]; HOOKS] {
    let mut table = [[0; 256]; HOOKS];
    for (hook, by_protocol) in table.iter_mut().enumerate() {
        let here = placed.iter().filter(|p| p.hooks & 1 << hook != 0);
        let mut any = Bits::default();
        let mut named: BTreeMap<u32, Bits> = BTreeMap::new();
        for p in here {
            let bits = p.protocol.map_or(&mut any, |protocol| named.entry(protocol.number()).or_default());
            bits.0[p.word] |= p.rule.clauses | p.rule.exclude;
        }
        by_protocol.fill(rows.number(&any));
        for (protocol, mut bits) in named {
            bits.add(&any);
            if let Some(row) = by_protocol.get_mut(protocol as usize) {
                *row = rows.number(&bits);
            }
        }
    }
    table
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
