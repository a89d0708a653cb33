//! The faults of an experiment, compiled: rules, and the tables that say which clauses a packet or call matches.
//!
//! A clause is one way to match, "these addresses with these ports", and one bit. Every field of a packet is looked up in
//! a table of its own that answers with the clauses it fits; what is left in all of them matches. The tables are
//! longest-prefix tries, which know of the longest prefix only, so [`spread`] gives every prefix the clauses of the
//! prefixes around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use chaos_common::{
    MAX_CLAUSES, clause_bits,
    draw::rule_seed,
    key::{MAX_PREFIXES, PORT_BITS, PortKey, port_key},
    rule::{FLAG_SHADOW, PROTOCOL_ANY, Rule},
    scope::{FLAG_PROTECTED_CGROUPS, Scope},
};
use ipnet::IpNet;
use toml::Spanned;

use crate::{
    config::{
        Experiment, FaultSpec, Mode, Problem,
        value::{Host, Peer, PortRange, Ports, Protocol},
    },
    guard::protected::Protected,
};

/// Prefixes with the clauses they stand for.
pub type Prefixes<K> = BTreeMap<(K, u32), u64>;

/// Host names with all their addresses.
pub type Addresses = BTreeMap<String, BTreeSet<IpAddr>>;

/// Everything the kernel side is filled with. Times in the rules are relative to the start: see [`Tables::rules_from`].
#[derive(Debug, Default)]
pub struct Tables {
    /// Whose packets and calls, and how many rules there are.
    pub scope: Scope,
    /// The faults in file order.
    pub rules: Vec<Rule>,
    /// IPv4 far ends.
    pub peer4: Prefixes<[u8; 4]>,
    /// IPv6 far ends.
    pub peer6: Prefixes<[u8; 16]>,
    /// Ports of the far end.
    pub far_ports: Prefixes<PortKey>,
    /// Ports of the near end.
    pub near_ports: Prefixes<PortKey>,
    /// Ids of protected cgroups.
    pub protected_cgroups: Vec<u64>,
}

impl Tables {
    /// Compiles `experiment`. `addresses` holds every host name in it; `seed` is what its draws start from.
    pub fn compile(
        experiment: &Experiment,
        addresses: &Addresses,
        protected: &Protected,
        seed: u64,
    ) -> Result<Self, Problem> {
        let mut tables = Self::default();
        let mut clauses = Clauses::default();
        for (index, fault) in (0u32..).zip(&experiment.faults) {
            let rule = tables.rule(&mut clauses, fault, addresses)?;
            tables.rules.push(Rule {
                seed: rule_seed(seed, index),
                deadline_ns: nanos(experiment.duration),
                flags: if experiment.mode == Mode::Shadow { FLAG_SHADOW } else { 0 },
                ..rule
            });
        }
        if !experiment.allow_protected {
            tables.protect(&mut clauses, protected)?;
        }
        tables.scope.portless = clause_bits(clauses.portless);
        tables.scope.rules = u32::try_from(tables.rules.len()).unwrap_or(0);
        spread(&mut tables.peer4, masked);
        spread(&mut tables.peer6, masked);
        spread(&mut tables.far_ports, masked);
        spread(&mut tables.near_ports, masked);
        tables.fits()?;
        Ok(tables)
    }

    /// The rules with their times on the boot clock, for an experiment that starts at `start_ns`.
    pub fn rules_from(&self, start_ns: u64) -> Vec<Rule> {
        let at = |offset: u64| start_ns.saturating_add(offset);
        self.rules
            .iter()
            .map(|r| Rule { start_ns: at(r.start_ns), deadline_ns: at(r.deadline_ns), ..*r })
            .collect()
    }

    fn rule(&mut self, clauses: &mut Clauses, spec: &FaultSpec, names: &Addresses) -> Result<Rule, Problem> {
        let FaultSpec { name: _, fault, side, probability, start_after, pulse } = spec;
        let near: Vec<PortRange> = side.local_ports.iter().flat_map(|p| p.0.iter().copied()).collect();
        let any = [Spanned::new(0..0, Peer { host: Host::Any, ports: None })];
        let peers = if side.peers.is_empty() { &any[..] } else { &side.peers };
        let mut rule = Rule {
            clauses: self.clauses(clauses, peers, &near, names)?,
            exclude: self.clauses(clauses, &side.exclude, &near, names)?,
            threshold: probability.threshold(),
            start_ns: nanos(*start_after),
            pulse_on_ns: pulse.map_or(0, |p| nanos(p.on)),
            pulse_off_ns: pulse.map_or(0, |p| nanos(p.off)),
            hooks: fault.hooks(),
            protocol: side.protocol.map_or(PROTOCOL_ANY, Protocol::number),
            ..Rule::default()
        };
        fault.encode(&mut rule);
        Ok(rule)
    }

    /// The clauses for a list of peers; those with the same ports share one.
    fn clauses(
        &mut self,
        clauses: &mut Clauses,
        peers: &[Spanned<Peer>],
        near: &[PortRange],
        names: &Addresses,
    ) -> Result<u64, Problem> {
        let mut by_ports: BTreeMap<Option<Vec<PortRange>>, u64> = BTreeMap::new();
        for peer in peers {
            let ports = peer.get_ref().ports.as_ref().map(|Ports(ranges)| ranges.clone());
            let clause = if let Some(clause) = by_ports.get(&ports) {
                *clause
            } else {
                let clause = clauses.next().ok_or_else(|| too_many_clauses(peer.span()))?;
                self.ports(clauses, clause, ports.as_deref().unwrap_or_default(), near);
                by_ports.insert(ports, clause);
                clause
            };
            for net in networks(&peer.get_ref().host, names) {
                self.network(net, clause);
            }
        }
        Ok(by_ports.values().fold(0, |all, clause| all | clause))
    }

    fn protect(&mut self, clauses: &mut Clauses, protected: &Protected) -> Result<(), Problem> {
        let Protected { cgroups, peers, local_ports } = protected;
        let mut mask = 0;
        if !peers.is_empty() {
            let clause = clauses.next().ok_or_else(|| too_many_clauses(0..0))?;
            self.ports(clauses, clause, &[], &[]);
            for net in peers {
                self.network(*net, clause);
            }
            mask |= clause;
        }
        if !local_ports.is_empty() {
            let clause = clauses.next().ok_or_else(|| too_many_clauses(0..0))?;
            let near: Vec<_> = local_ports.iter().map(|p| PortRange { first: *p, last: *p }).collect();
            self.ports(clauses, clause, &[], &near);
            for net in everything() {
                self.network(net, clause);
            }
            mask |= clause;
        }
        self.scope.protected = clause_bits(mask);
        self.protected_cgroups = cgroups.keys().copied().collect();
        // Even if there are none yet: sshd may be restarted while the experiment runs.
        self.scope.flags |= FLAG_PROTECTED_CGROUPS;
        Ok(())
    }

    fn network(&mut self, net: IpNet, clause: u64) {
        let length = u32::from(net.prefix_len());
        match net {
            IpNet::V4(net) => *self.peer4.entry((net.network().octets(), length)).or_default() |= clause,
            IpNet::V6(net) => *self.peer6.entry((net.network().octets(), length)).or_default() |= clause,
        }
    }

    fn ports(&mut self, clauses: &mut Clauses, clause: u64, far: &[PortRange], near: &[PortRange]) {
        if far.is_empty() && near.is_empty() {
            clauses.portless |= clause;
        }
        for (table, ranges) in [(&mut self.far_ports, far), (&mut self.near_ports, near)] {
            let prefixes: Vec<(u16, u32)> = match ranges {
                [] => vec![(0, 0)],
                ranges => ranges.iter().flat_map(|r| r.prefixes()).collect(),
            };
            for (port, length) in prefixes {
                *table.entry((port_key(port), length)).or_default() |= clause;
            }
        }
    }

    fn fits(&self) -> Result<(), Problem> {
        let largest = [self.peer4.len(), self.peer6.len(), self.far_ports.len(), self.near_ports.len()]
            .into_iter()
            .max();
        if largest.unwrap_or(0) <= MAX_PREFIXES {
            return Ok(());
        }
        Err(Problem::at(0..0, "the faults name too many addresses or ports", "in all of the faults together")
            .help(format!(
                "a table holds {MAX_PREFIXES} prefixes: name networks instead of single addresses"
            )))
    }
}

/// Hands out clauses.
#[derive(Default)]
struct Clauses {
    used: usize,
    /// Those without any condition on ports.
    portless: u64,
}

impl Clauses {
    fn next(&mut self) -> Option<u64> {
        let clause = (self.used < MAX_CLAUSES).then(|| 1 << self.used)?;
        self.used += 1;
        Some(clause)
    }
}

fn too_many_clauses(span: std::ops::Range<usize>) -> Problem {
    Problem::at(span, "the faults name too many different sets of ports", "one too many").help(format!(
        "all faults together may name {MAX_CLAUSES}: peers of a fault with the same ports count once; join ports with a \
         comma (\"10.0.0.0/8:80,443\")"
    ))
}

fn everything() -> [IpNet; 2] {
    [IpNet::V4(ipnet::Ipv4Net::default()), IpNet::V6(ipnet::Ipv6Net::default())]
}

fn networks(host: &Host, names: &Addresses) -> Vec<IpNet> {
    match host {
        Host::Any => everything().to_vec(),
        Host::Net(net) => vec![*net],
        Host::Name(name) => names.get(name).into_iter().flatten().map(|a| IpNet::from(*a)).collect(),
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Gives every prefix the clauses of all shorter prefixes that cover it.
fn spread<K: Ord + Copy>(prefixes: &mut Prefixes<K>, masked: impl Fn(K, u32) -> K) {
    let lengths: BTreeSet<u32> = prefixes.keys().map(|(_, length)| *length).collect();
    let own = prefixes.clone();
    for ((key, length), clauses) in prefixes.iter_mut() {
        for shorter in lengths.range(..length) {
            *clauses |= own.get(&(masked(*key, *shorter), *shorter)).copied().unwrap_or(0);
        }
    }
}

/// The first `length` bits of a key in network byte order.
fn masked<const N: usize>(mut key: [u8; N], length: u32) -> [u8; N] {
    for (i, byte) in (0u32..).zip(key.iter_mut()) {
        let kept = length.saturating_sub(i * 8).min(8);
        *byte &= u8::try_from((0xff00u32 >> kept) & 0xff).unwrap_or(0);
    }
    key
}

const _: () = assert!(PORT_BITS == 16);

#[cfg(test)]
mod tests;
