//! `partition`: nothing comes through between the target and some peers, in either direction: a zone that is gone. It has no
//! effect of its own in the kernel: it is `drop` or `reject` both ways, which must name its peers.

use std::str::FromStr;

use chaos_common::rule::{Rule, action, hook};
use toml::Spanned;

use super::{Fault, Field, Kind, packets};
use crate::{
    bpf::{Feature, Need},
    config::{
        Packets, Problem, Section,
        value::{Direction, Invalid, deserialize_from_text},
    },
};

/// The kind.
pub struct Partition;

impl Kind for Partition {
    fn name(&self) -> &'static str {
        "partition"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["isolate", "split", "zone"]
    }

    fn about(&self) -> &'static str {
        "Separate the target from peers, both ways: silently, or refusing at once"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 4] = packets::fields_both_ways([packets::field(
            "behaviour",
            "drop|reject",
            "drop: silence, as when a zone is gone (the default); reject: refused at once",
        )]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let behaviour = section.get("behaviour")?.map_or(Behaviour::Drop, Spanned::into_inner);
        if let Some(direction) = section.look_at::<Direction>("direction")? {
            let message = "a partition is always both ways";
            return Err(Problem::at(direction.span(), message, "no such field here")
                .help("for one way write kind = \"drop\" or kind = \"reject\""));
        }
        let nobody =
            Problem::at(section.span(), "a partition needs peers to separate from", "`peer` names none").help(
                "add a line: peer = [\"10.1.0.0/16\", \"fd00:1::/32\"]; for everything write it: \"0.0.0.0/0\", \"::/0\"",
            );
        section.refuse_without("peer", nobody)?;
        Ok((Box::new(PartitionFault { behaviour }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        ("", "nothing comes through: every request waits until it times out")
    }
}

/// What becomes of packets between both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Drop,
    Reject,
}

deserialize_from_text!(Behaviour, "\"drop\" or \"reject\"");

impl FromStr for Behaviour {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "drop" => Ok(Self::Drop),
            "reject" => Ok(Self::Reject),
            _ => Err(Invalid::new(
                format!("unknown behaviour \"{text}\""),
                "write \"drop\" for silence, or \"reject\" for peers that refuse at once",
            )),
        }
    }
}

#[derive(Debug)]
struct PartitionFault {
    behaviour: Behaviour,
}

impl Fault for PartitionFault {
    fn kind(&self) -> &'static str {
        Partition.name()
    }

    fn hooks(&self) -> u32 {
        match self.behaviour {
            Behaviour::Drop => hook::EGRESS | hook::INGRESS,
            Behaviour::Reject => packets::hooks(Direction::Both),
        }
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = match self.behaviour {
            Behaviour::Drop => action::DROP,
            Behaviour::Reject => action::REJECT,
        };
    }

    fn describe(&self) -> String {
        match self.behaviour {
            Behaviour::Drop => "separate from peers, silently".to_owned(),
            Behaviour::Reject => "separate from peers, rejecting".to_owned(),
        }
    }

    fn needs(&self) -> &[Need] {
        match self.behaviour {
            Behaviour::Drop => const { &[Feature::TcEgress.any_way(), Feature::CgroupIngress.in_full()] },
            Behaviour::Reject => packets::needs(Direction::Both),
        }
    }
}
