//! `rate`: packets leave, or come in, at a limited rate; those that are too early wait for their turn. Kernel side:
//! `chaos-ebpf/src/fault/rate.rs`.

use std::{fmt, str::FromStr};

use chaos_common::{
    rate::{BURST_NS, OF_FLOW, OF_RULE, RATE, SHARED, takes},
    rule::{Rule, action},
};
use toml::Spanned;

use super::{Fault, Field, Kind, packets};
use crate::{
    bpf::Need,
    config::{
        Packets, Problem, Section,
        value::{Direction, Invalid, Rate as Speed, Size, deserialize_from_text},
    },
};

/// A full packet of an Ethernet, with its header: the smallest burst, so that a single packet after a pause never waits.
const PACKET: u64 = 1514;

/// The largest burst.
const LARGEST: u64 = 1 << 30;

/// The kind.
pub struct Rate;

impl Kind for Rate {
    fn name(&self) -> &'static str {
        "rate"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["bandwidth", "throttle", "limit", "tbf"]
    }

    fn about(&self) -> &'static str {
        "Limit how fast packets come through, as a narrow link does"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 7] = packets::fields([
            packets::field("rate", "RATE", "How fast: 64kbit, 10Mbit, 1Gbit, 1MB/s"),
            packets::field(
                "burst",
                "SIZE",
                "How much may pass at once after a pause: 64KiB (1 ms of the rate, at least a packet)",
            ),
            packets::field(
                "per",
                "fault|flow",
                "One limit for all packets together (fault, the default), or one for each connection (flow)",
            ),
        ]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        let rate = section.need::<Speed>("rate", "\"10Mbit\"")?.into_inner();
        let burst = match section.get::<Size>("burst")? {
            None => default_burst(rate),
            Some(burst) if (PACKET..=LARGEST).contains(&burst.get_ref().0) => burst.into_inner(),
            Some(burst) => {
                let message = format!("the burst of {} is out of range", burst.get_ref());
                return Err(Problem::at(burst.span(), message, "here").help(format!(
                    "a burst is at least a full packet, {}, and at most {}",
                    Size(PACKET),
                    Size(LARGEST)
                )));
            }
        };
        let per = section.get("per")?.map_or(Per::Fault, Spanned::into_inner);
        Ok((Box::new(RateFault { direction, rate, burst, per }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        ("rate = \"2Mbit\"", "requests wait for their turn: fewer of them, each slower, none fails")
    }
}

/// What passes in a millisecond, and a full packet at least. A link has no burst at all: a large one would let short
/// answers through as if nothing were slow. Packets of 64 KB, which a device cuts up later, may exceed it: they wait until
/// their last byte would have come through.
fn default_burst(rate: Speed) -> Size {
    Size((rate.bytes_per_second() / 1000).max(PACKET))
}

/// Whose packets share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Fault,
    Flow,
}

deserialize_from_text!(Per, "\"fault\" or \"flow\"");

impl FromStr for Per {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "fault" => Ok(Self::Fault),
            "flow" => Ok(Self::Flow),
            _ => Err(Invalid::new(
                format!("a rate is not per \"{text}\""),
                "write \"fault\" for one limit for all packets together, or \"flow\" for one for each connection",
            )),
        }
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "together",
            Self::Flow => "for each connection",
        })
    }
}

#[derive(Debug)]
struct RateFault {
    direction: Direction,
    rate: Speed,
    burst: Size,
    per: Per,
}

impl Fault for RateFault {
    fn kind(&self) -> &'static str {
        Rate.name()
    }

    fn hooks(&self) -> u32 {
        packets::hooks(self.direction)
    }

    fn encode(&self, rule: &mut Rule) {
        let rate = self.rate.bytes_per_second();
        rule.action = action::RATE;
        rule.numbers[RATE] = rate;
        rule.numbers[BURST_NS] = takes(self.burst.0, rate);
        rule.numbers[SHARED] = match self.per {
            Per::Fault => OF_RULE,
            Per::Flow => OF_FLOW,
        };
    }

    fn describe(&self) -> String {
        let Self { direction, rate, burst, per } = self;
        format!("limit packets {direction} to {rate} {per}, bursts of {burst}")
    }

    fn needs(&self) -> &[Need] {
        packets::needs_to_wait(self.direction)
    }
}
