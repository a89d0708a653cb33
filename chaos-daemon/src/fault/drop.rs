//! `drop`: packets are lost, as on a bad wire. Kernel side: `chaos-ebpf/src/fault/drop.rs`.

use std::{fmt, str::FromStr};

use chaos_common::rule::{Rule, action, hook};
use toml::Spanned;

use super::{Fault, Field, Kind, Takes};
use crate::{
    bpf::{Feature, Need},
    config::{
        Packets, Problem, Section,
        value::{Invalid, deserialize_from_text},
    },
};

/// The kind.
pub struct Drop;

impl Kind for Drop {
    fn name(&self) -> &'static str {
        "drop"
    }

    fn about(&self) -> &'static str {
        "Lose packets, as on a bad wire; the sender believes they were sent"
    }

    fn fields(&self) -> &'static [Field] {
        const DIRECTION: Field = Field {
            name: "direction",
            value: "egress|ingress|both",
            help: "Packets the target sends (egress, the default), receives (ingress), or both",
            takes: Takes::One,
        };
        const { &[DIRECTION, Packets::FIELDS[0], Packets::FIELDS[1], Packets::FIELDS[2]] }
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = section.get("direction")?.map_or(Direction::Egress, Spanned::into_inner);
        Ok((Box::new(DropFault { direction }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "probability = \"10%\"\ndirection = \"both\"",
            "TCP repairs the loss: hardly an error, a long tail of latency",
        )
    }
}

/// Which way packets go, seen from the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Egress,
    Ingress,
    Both,
}

deserialize_from_text!(Direction, "a direction: \"egress\", \"ingress\" or \"both\"");

impl FromStr for Direction {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "egress" => Ok(Self::Egress),
            "ingress" => Ok(Self::Ingress),
            "both" => Ok(Self::Both),
            _ => Err(Invalid::new(
                format!("unknown direction \"{text}\""),
                "write \"egress\" for what the target sends, \"ingress\" for what it receives, or \"both\"",
            )),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Egress => "sent",
            Self::Ingress => "received",
            Self::Both => "sent and received",
        })
    }
}

#[derive(Debug)]
struct DropFault {
    direction: Direction,
}

impl Fault for DropFault {
    fn kind(&self) -> &'static str {
        Drop.name()
    }

    fn hooks(&self) -> u32 {
        match self.direction {
            Direction::Egress => hook::EGRESS,
            Direction::Ingress => hook::INGRESS,
            Direction::Both => hook::EGRESS | hook::INGRESS,
        }
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::DROP;
    }

    fn describe(&self) -> String {
        format!("drop packets {}", self.direction)
    }

    fn needs(&self) -> &'static [Need] {
        const EGRESS: Need = Feature::TcEgress.any_way();
        const INGRESS: Need = Feature::CgroupIngress.in_full();
        match self.direction {
            Direction::Egress => &[EGRESS],
            Direction::Ingress => &[INGRESS],
            Direction::Both => &[EGRESS, INGRESS],
        }
    }
}
