//! What a fault asks for, placed: its clauses, all in one word, and its rule.

use chaos_common::{
    draw::SCALE,
    rule::{FLAG_FLOWS, FLAG_NEW_ONLY, Rule, hook},
    table::{MAX_CLAUSES, WORD_BITS},
};
use ipnet::IpNet;
use toml::Spanned;

use super::{Addresses, clauses::Clauses, nanos};
use crate::{
    config::{
        FaultSpec, Problem,
        value::{Host, Peer, PortRange, Ports, Protocol, Share},
    },
    guard::protected::Protected,
};

/// A rule and where it applies, before there are rows.
pub struct Placed {
    /// The rule, without what is the same for all.
    pub rule: Rule,
    /// The word that its clauses are in.
    pub word: usize,
    /// Bits of `chaos_common::rule::hook`.
    pub hooks: u32,
    /// The only protocol, if there is one.
    pub protocol: Option<Protocol>,
}

impl Placed {
    /// Where network namespaces are the target, all that is received is judged where it arrives at a device: which cgroup
    /// its socket is in says nothing.
    pub fn meets_at_devices(&mut self) {
        if self.hooks & hook::INGRESS != 0 {
            self.hooks |= hook::ARRIVAL;
        }
    }
}

/// Gives a fault its clauses.
pub fn place(
    clauses: &mut Clauses,
    spec: &FaultSpec,
    names: &Addresses,
    number: u16,
) -> Result<Placed, Problem> {
    let FaultSpec { name: _, place: _, fault, side, probability, limit, start_after, pulse } = spec;
    let near: Vec<PortRange> = side.packets.local_ports.iter().flat_map(|p| p.0.iter().copied()).collect();
    let any = [Spanned::new(0..0, Peer { host: Host::Any, ports: None })];
    let peers = by_ports(if side.peers.is_empty() { &any[..] } else { &side.peers });
    let exclude = by_ports(&side.exclude);
    let span = side.peers.first().map_or(0..0, Spanned::span);
    let first = clauses.take(peers.len() + exclude.len()).ok_or_else(|| too_many_clauses(span))?;
    let word = first / WORD_BITS;
    let (mut matching, mut excluding) = (0u64, 0u64);
    for (clause, (ports, group)) in (first..).zip(peers.iter().chain(&exclude)) {
        clauses.ports(clause, ports.as_deref().unwrap_or_default(), &near);
        for peer in group {
            for network in networks(&peer.get_ref().host, names) {
                clauses.network(clause, network);
            }
        }
        let bit = 1u64 << (clause % WORD_BITS);
        if clause < first + peers.len() {
            matching |= bit;
            clauses.matching.set(clause);
            if let Some(rule) = clauses.rule_of.get_mut(clause) {
                *rule = number;
            }
        } else {
            excluding |= bit;
        }
    }
    let mut rule = Rule {
        clauses: matching,
        exclude: excluding,
        threshold: probability.threshold(),
        flows: side.packets.flows.map_or(SCALE, Share::threshold),
        limit: limit.map_or(0, u64::from),
        start_ns: nanos(*start_after),
        pulse_on_ns: pulse.map_or(0, |p| nanos(p.on)),
        pulse_off_ns: pulse.map_or(0, |p| nanos(p.off)),
        ..Rule::default()
    };
    if side.packets.flows.is_some() {
        rule.flags |= FLAG_FLOWS;
    }
    if side.packets.new_only {
        rule.flags |= FLAG_NEW_ONLY;
    }
    fault.encode(&mut rule);
    Ok(Placed { rule, word, hooks: fault.hooks(), protocol: side.protocol })
}

/// Peers with the same ports.
type Group<'a> = (Option<Vec<PortRange>>, Vec<&'a Spanned<Peer>>);

/// Peers with the same ports share a clause.
fn by_ports(peers: &[Spanned<Peer>]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for peer in peers {
        let ports = peer.get_ref().ports.as_ref().map(|Ports(ranges)| ranges.clone());
        match groups.iter_mut().find(|(known, _)| *known == ports) {
            Some((_, group)) => group.push(peer),
            None => groups.push((ports, vec![peer])),
        }
    }
    groups
}

/// The word of the clauses that protect, and which they are.
pub fn protect(clauses: &mut Clauses, protected: &Protected) -> Result<(u16, u64), Problem> {
    let Protected { cgroups: _, peers, local_ports } = protected;
    let first = clauses.take(2).ok_or_else(|| too_many_clauses(0..0))?;
    clauses.ports(first, &[], &[]);
    for network in peers {
        clauses.network(first, *network);
    }
    if !local_ports.is_empty() {
        let near: Vec<_> = local_ports.iter().map(|p| PortRange { first: *p, last: *p }).collect();
        clauses.ports(first + 1, &[], &near);
        for network in everything() {
            clauses.network(first + 1, network);
        }
    }
    Ok((u16::try_from(first / WORD_BITS).unwrap_or(0), 0b11 << (first % WORD_BITS)))
}

fn too_many_clauses(span: std::ops::Range<usize>) -> Problem {
    Problem::at(span, "the faults name too many different sets of ports", "one too many").help(format!(
        "one fault may name {WORD_BITS} and all together {MAX_CLAUSES}, exclusions included: peers of a fault with the same \
         ports count once; join ports with a comma (\"10.0.0.0/8:80,443\")"
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
