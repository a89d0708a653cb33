//! `reset`: connections are cut, as by a crashed peer or a firewall that forgot them. Both applications see ECONNRESET, and
//! new connections are refused. Kernel side: `chaos-ebpf/src/fault/reset.rs`; connections without traffic:
//! `engine/idle.rs`.

use std::{ops::Range, time::Duration};

use chaos_common::{
    draw::SCALE,
    reset::{AFTER_BYTES, AFTER_NS},
    rule::{FLAG_FLOWS, Rule, action},
};
use toml::Spanned;

use super::{Fault, Field, Kind, Takes, packets};
use crate::{
    bpf::Need,
    config::{
        Packets, Problem, Section,
        value::{After, Direction, Protocol, Share, Size, Span, Truth},
    },
};

/// The most that a connection may carry before it is cut: sequence numbers wrap at four times as much.
const LARGEST: Size = Size(1 << 30);

/// The kind.
pub struct Reset;

impl Kind for Reset {
    fn name(&self) -> &'static str {
        "reset"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["reset_peer", "rst", "abort", "limit_data"]
    }

    fn about(&self) -> &'static str {
        "Cut TCP connections: both ends see ECONNRESET; new ones are refused"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 6] = packets::fields([
            packets::field(
                "after",
                "SIZE|DURATION",
                "Not before the connection has carried so much (64KiB) or is so old (2s)",
            ),
            Field {
                name: "idle",
                value: "",
                help: "Cut connections without any traffic, too",
                takes: Takes::Nothing,
            },
        ]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        let after = section.get::<After>("after")?;
        let idle = section.get::<Truth>("idle")?;
        if let Some(after) = &after {
            in_range(after)?;
        }
        let idle = idle.filter(|idle| idle.get_ref().0);
        if let (Some(idle), Some(After::Bytes(_))) = (&idle, after.as_ref().map(Spanned::get_ref)) {
            let message = "a connection without traffic never carries so much";
            return Err(Problem::at(idle.span(), message, "contradicts `after`")
                .help("give `after` a duration, or leave out one of them"));
        }
        if let (Some(share), Some(_)) =
            (section.look_at::<Share>("flows")?, section.look_at::<Share>("probability")?)
        {
            return Err(Problem::at(
                share.span(),
                "`flows` and `probability` say the same here",
                "one too many",
            )
            .help("a connection is cut or not: leave one of them out"));
        }
        let packets = Packets::read(section)?;
        if let Some(idle) = idle.as_ref().filter(|_| packets.new_only) {
            let message = "`new_only` leaves nothing without traffic to cut";
            return Err(Problem::at(idle.span(), message, "contradicts `new_only`")
                .help("a connection that begins is seen at once: leave out one of them"));
        }
        Ok((Box::new(ResetFault { direction, after, idle: idle.is_some() }), packets))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "probability = \"25%\"\ndirection = \"both\"",
            "a quarter of the connections is cut or refused, at both ends at once",
        )
    }
}

fn in_range(after: &Spanned<After>) -> Result<(), Problem> {
    let wrong = |message: String, help: String| Err(Problem::at(after.span(), message, "here").help(help));
    match *after.get_ref() {
        After::Bytes(Size(0)) | After::Age(Duration::ZERO) => wrong(
            "`after` must be more than nothing".to_owned(),
            "leave `after` out to cut connections at once".to_owned(),
        ),
        After::Bytes(size) if size > LARGEST => {
            wrong(format!("{size} are too many"), format!("a connection is cut after at most {LARGEST}"))
        }
        _ => Ok(()),
    }
}

#[derive(Debug)]
struct ResetFault {
    direction: Direction,
    after: Option<Spanned<After>>,
    idle: bool,
}

impl Fault for ResetFault {
    fn kind(&self) -> &'static str {
        Reset.name()
    }

    fn hooks(&self) -> u32 {
        packets::hooks(self.direction)
    }

    /// What is drawn for is the connection, and not each of its packets: otherwise none would live for long.
    fn encode(&self, rule: &mut Rule) {
        rule.action = action::RESET;
        if rule.threshold != SCALE && rule.flags & FLAG_FLOWS == 0 {
            rule.flows = rule.threshold;
            rule.threshold = SCALE;
            rule.flags |= FLAG_FLOWS;
        }
        match self.after.as_ref().map(Spanned::get_ref) {
            Some(After::Bytes(size)) => rule.numbers[AFTER_BYTES] = size.0,
            Some(After::Age(age)) => rule.numbers[AFTER_NS] = packets::nanos(*age),
            None => {}
        }
    }

    fn describe(&self) -> String {
        let after = self.after.as_ref().map_or(String::new(), |after| format!(" after {}", after.get_ref()));
        let idle = if self.idle { ", idle ones too" } else { "" };
        format!("cut connections by packets {}{after}{idle}", self.direction)
    }

    fn needs(&self) -> &[Need] {
        packets::needs(self.direction)
    }

    fn protocol(&self) -> Option<Protocol> {
        Some(Protocol::Tcp)
    }

    fn earliest(&self) -> Option<(Span, Range<usize>)> {
        let after = self.after.as_ref()?;
        match after.get_ref() {
            After::Age(age) => Some((Span(*age), after.span())),
            After::Bytes(_) => None,
        }
    }

    fn cuts_idle(&self) -> bool {
        self.idle
    }
}
