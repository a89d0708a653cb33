//! `drop`: packets are lost, as on a bad wire. Kernel side: `chaos-ebpf/src/fault/drop.rs`.

use chaos_common::rule::{Rule, action, hook};

use super::{
    Fault, Field, Kind,
    loss::{self, Loss},
    packets,
};
use crate::{
    bpf::{Feature, Need},
    config::{Packets, Problem, Section, value::Direction},
};

/// The kind.
pub struct Drop;

impl Kind for Drop {
    fn name(&self) -> &'static str {
        "drop"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["loss", "blackhole", "timeout"]
    }

    fn about(&self) -> &'static str {
        "Lose packets, as on a bad wire; the sender believes they were sent"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 12] = packets::fields(loss::FIELDS);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        let loss = Loss::read(section)?;
        Ok((Box::new(DropFault { direction, loss }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "probability = \"10%\"\ndirection = \"both\"",
            "TCP repairs the loss: hardly an error, a long tail of latency",
        )
    }
}

#[derive(Debug)]
struct DropFault {
    direction: Direction,
    loss: Loss,
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
        self.loss.encode(rule);
    }

    fn describe(&self) -> String {
        format!("drop packets {}{}", self.direction, self.loss)
    }

    fn needs(&self) -> &[Need] {
        const EGRESS: Need = Feature::TcEgress.any_way();
        const INGRESS: Need = Feature::CgroupIngress.in_full();
        match self.direction {
            Direction::Egress => &[EGRESS],
            Direction::Ingress => &[INGRESS],
            Direction::Both => &[EGRESS, INGRESS],
        }
    }
}
