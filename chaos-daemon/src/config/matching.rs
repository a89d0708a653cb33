//! The fields that every `[[fault]]` has, whatever its kind: which packets or calls, how many of them, and when.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use chaos_common::rule::{Rule, hook};
use toml::Spanned;

use super::{
    Problem, Section, experiment,
    section::closest,
    value::{Count, Host, Peer, Ports, Protocol, Redirect, Share, Span, Truth},
};
use crate::{
    bpf::Feature,
    engine::has_state_of_flows,
    fault::{self, Fault, Field, Takes},
};

/// One fault, read and checked.
#[derive(Debug)]
pub struct FaultSpec {
    /// Its name in metrics and reports: `name`, or the kind and its position.
    pub name: String,
    /// Where its file says what it does.
    pub place: Range<usize>,
    /// What it does.
    pub fault: Box<dyn Fault>,
    /// Which packets or calls.
    pub side: Side,
    /// How many of them.
    pub probability: Share,
    /// How often it hits at most.
    pub limit: Option<u32>,
    /// When it starts, from the start of the experiment.
    pub start_after: Duration,
    /// On and off by turns.
    pub pulse: Option<Pulse>,
}

/// Both ends of what a fault looks at.
#[derive(Debug, Default)]
pub struct Side {
    /// Far ends of which one must match; empty is any.
    pub peers: Vec<Spanned<Peer>>,
    /// Far ends that are left alone.
    pub exclude: Vec<Spanned<Peer>>,
    /// What only kinds that look at packets ask.
    pub packets: Packets,
    /// The transport; `None` is any.
    pub protocol: Option<Protocol>,
}

/// Conditions of the kinds that look at packets. A call knows neither its near end nor its connection yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packets {
    /// Ports of the near end; empty is any.
    pub local_ports: Vec<Ports>,
    /// How many connections; of the others nothing is hit.
    pub flows: Option<Share>,
    /// Only connections that begin while the experiment runs.
    pub new_only: bool,
}

impl Packets {
    /// Their fields, as `kchaos inject` offers them.
    pub const FIELDS: [Field; 3] = [
        Field {
            name: "local_port",
            value: "PORTS",
            help: "Ports of the near end: 8080, 8000-8099 or 80,443",
            takes: Takes::Several,
        },
        Field {
            name: "flows",
            value: "SHARE",
            help: "How many connections are hit: every packet of these, none of the others",
            takes: Takes::One,
        },
        Field {
            name: "new_only",
            value: "",
            help: "Only TCP connections that begin while the experiment runs",
            takes: Takes::Nothing,
        },
    ];

    /// Reads them.
    pub fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        Ok(Self {
            local_ports: section
                .list("local_port")?
                .unwrap_or_default()
                .into_iter()
                .map(Spanned::into_inner)
                .collect(),
            flows: section.get("flows")?.map(Spanned::into_inner),
            new_only: section.get::<Truth>("new_only")?.is_some_and(|truth| truth.into_inner().0),
        })
    }
}

/// On for a while, off for a while, and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// How long it is on.
    pub on: Duration,
    /// How long it is off.
    pub off: Duration,
}

impl FaultSpec {
    /// Reads the fault at position `index` (from 0) of an experiment that lasts `duration`.
    /// `names` are those of the faults before it.
    pub fn read(
        mut table: Section<'_>,
        index: usize,
        duration: Duration,
        names: &mut BTreeSet<String>,
    ) -> Result<Self, Problem> {
        let section = &mut table;
        let kind = section.need::<String>("kind", &format!("\"{}\"", fault::KINDS[0].name()))?;
        let place = kind.span();
        let Some(kind) = fault::KINDS.iter().find(|k| k.name() == kind.get_ref()) else {
            return Err(unknown_kind(&kind));
        };
        let name = experiment::name(section, &format!("{}-{}", kind.name(), index + 1))?;
        if !names.insert(name.get_ref().clone()) {
            let message = format!("two faults are called {}", name.get_ref());
            return Err(
                Problem::at(name.span(), message, "the second one").help("give each a `name` of its own")
            );
        }
        let (fault, packets) = kind.read(section)?;
        let side = Side {
            peers: section.list("peer")?.unwrap_or_default(),
            exclude: section.list("exclude")?.unwrap_or_default(),
            packets,
            protocol: protocol(section, &*fault)?,
        };
        let spec = Self {
            name: name.into_inner(),
            place,
            fault,
            side,
            probability: section.get("probability")?.map_or(Share::ALL, Spanned::into_inner),
            limit: section.get::<Count>("limit")?.map(|limit| limit.into_inner().0),
            start_after: start_after(section, duration)?,
            pulse: pulse(section, duration)?,
        };
        let span = table.span();
        table.finish()?;
        in_time(&*spec.fault, duration)?;
        spec.can_match(span)?;
        Ok(spec)
    }
}

impl FaultSpec {
    /// Whether anything is to be caught in the kernel's own functions.
    pub fn catches_a_call(&self) -> bool {
        self.fault.needs().iter().any(|need| matches!(need.feature, Feature::Call(_)))
    }

    /// Refuses conditions that contradict each other: the fault would never hit, and look as if all were well.
    fn can_match(&self, span: Range<usize>) -> Result<(), Problem> {
        self.can_be_redirected()?;
        if self.side.packets.new_only && self.side.protocol != Some(Protocol::Tcp) {
            return Err(Problem::at(
                span,
                "`new_only` needs connections that have a beginning",
                "not only TCP",
            )
            .help("add protocol = \"tcp\""));
        }
        if self.side.protocol != Some(Protocol::Icmp) {
            return Ok(());
        }
        let wrong = |message: &str, help: &str| Err(Problem::at(span, message, "can never match").help(help));
        if self.fault.asks().is_some() || self.fault.hooks() & hook::CONNECT != 0 {
            return wrong(
                "calls are made over tcp and udp, and not over icmp",
                "write protocol = \"tcp\" or \"udp\", or leave it out",
            );
        }
        if !self.side.packets.local_ports.is_empty()
            || self.side.peers.iter().any(|p| p.get_ref().ports.is_some())
        {
            return wrong("icmp has no ports", "leave out the ports, or protocol = \"icmp\"");
        }
        let mut rule = Rule::default();
        self.fault.encode(&mut rule);
        if has_state_of_flows(&rule) {
            return wrong(
                "icmp has no connections",
                "write protocol = \"tcp\" or \"udp\", or ask for nothing of each connection",
            );
        }
        Ok(())
    }

    /// Refuses far ends of a family whose calls cannot be sent elsewhere. Those behind a name, or behind a port alone, are
    /// of either family, and are counted when they come.
    fn can_be_redirected(&self) -> Result<(), Problem> {
        let redirects = self.fault.redirects();
        let Some(first) = redirects.first() else { return Ok(()) };
        for peer in &self.side.peers {
            let Host::Net(net) = &peer.get_ref().host else { continue };
            let is_v4 = net.addr().is_ipv4();
            let serves = |redirect: &Spanned<Redirect>| {
                redirect.get_ref().address.is_none_or(|address| address.is_ipv4() == is_v4)
            };
            if !redirects.iter().any(serves) {
                let (here, there) = if is_v4 { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
                let message =
                    format!("a call to {} is {here}, and cannot go to {}", peer.get_ref(), first.get_ref());
                return Err(Problem::at(peer.span(), message, format!("cannot become {there}")).help(
                    format!(
                        "give `redirect` a list with one address of each family, or name {there} peers only"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// The protocol that is asked for, or the only one that the fault can do something to.
fn protocol(section: &mut Section<'_>, fault: &dyn Fault) -> Result<Option<Protocol>, Problem> {
    let asked = section.get::<Protocol>("protocol")?;
    let Some(only) = fault.protocol() else { return Ok(asked.map(Spanned::into_inner)) };
    match asked {
        Some(other) if *other.get_ref() != only => {
            let message = format!("{} is for {only} alone", fault.kind());
            Err(Problem::at(other.span(), message, "cannot be done to these").help(format!(
                "write protocol = \"{only}\" or leave it out; kind = \"reject\" refuses packets of any protocol"
            )))
        }
        _ => Ok(Some(only)),
    }
}

/// Refuses a fault that would hit for the first time when all is over. Connections age before `start_after`, too.
fn in_time(fault: &dyn Fault, duration: Duration) -> Result<(), Problem> {
    match fault.earliest() {
        Some((earliest, span)) if earliest.0 >= duration => {
            let message = format!("connections would be cut after {earliest}, when the experiment is over");
            Err(Problem::at(span, message, "not inside the time box").help(format!(
                "the experiment lasts {}: cut earlier, or make `duration` longer",
                Span(duration)
            )))
        }
        _ => Ok(()),
    }
}

fn unknown_kind(kind: &Spanned<String>) -> Problem {
    let names: Vec<&str> = fault::KINDS.iter().map(|k| k.name()).collect();
    let known = names.join(", ");
    let close = match fault::called(kind.get_ref()) {
        Some(kind) => Some(kind.name()),
        None => closest(kind.get_ref(), &names),
    };
    let help = match close {
        Some(close) => format!("did you mean \"{close}\"? This version knows: {known}"),
        None => format!("this version knows: {known}"),
    };
    Problem::at(kind.span(), format!("unknown kind of fault \"{}\"", kind.get_ref()), "not a kind of fault")
        .help(help)
}

fn start_after(section: &mut Section<'_>, duration: Duration) -> Result<Duration, Problem> {
    let Some(after) = section.get::<Span>("start_after")? else { return Ok(Duration::ZERO) };
    if after.get_ref().0 >= duration {
        return Err(Problem::at(
            after.span(),
            format!("the fault would start after {}, when the experiment is over", after.get_ref()),
            "not inside the time box",
        )
        .help(format!("the experiment lasts {}: start earlier, or make `duration` longer", Span(duration))));
    }
    Ok(after.into_inner().0)
}

fn pulse(section: &mut Section<'_>, duration: Duration) -> Result<Option<Pulse>, Problem> {
    let Some(mut pulse) = section.table("pulse")? else { return Ok(None) };
    let mut phase = |key: &'static str| -> Result<Duration, Problem> {
        let span = pulse.need::<Span>(key, "\"5s\"")?;
        if span.get_ref().0.is_zero() || span.get_ref().0 > duration {
            return Err(Problem::at(
                span.span(),
                format!("`{key}` of a pulse is outside the time box"),
                "here",
            )
            .help(format!("give it more than 0 and at most the experiment's {}", Span(duration))));
        }
        Ok(span.into_inner().0)
    };
    let (on, off) = (phase("on")?, phase("off")?);
    pulse.finish()?;
    Ok(Some(Pulse { on, off }))
}
