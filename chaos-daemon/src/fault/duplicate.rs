//! `duplicate`: packets go out, or come in, twice. Kernel side: `chaos-ebpf/src/fault/duplicate.rs`.

use chaos_common::rule::{Rule, action};

use super::{Fault, Field, Kind, packets};
use crate::{
    bpf::Need,
    config::{Packets, Problem, Section, value::Direction},
};

/// The kind.
pub struct Duplicate;

impl Kind for Duplicate {
    fn name(&self) -> &'static str {
        "duplicate"
    }

    fn about(&self) -> &'static str {
        "Send or deliver packets twice"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 4] = packets::fields([]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        Ok((Box::new(DuplicateFault { direction }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "probability = \"25%\"\ndirection = \"both\"",
            "TCP throws copies away: no error, hardly slower; UDP would deliver them",
        )
    }
}

#[derive(Debug)]
struct DuplicateFault {
    direction: Direction,
}

impl Fault for DuplicateFault {
    fn kind(&self) -> &'static str {
        Duplicate.name()
    }

    fn hooks(&self) -> u32 {
        packets::hooks(self.direction)
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::DUPLICATE;
    }

    fn describe(&self) -> String {
        format!("duplicate packets {}", self.direction)
    }

    fn needs(&self) -> &[Need] {
        // A copy of what arrives on lo has no route, and is lost but for the settings of lo that come with a line.
        match self.direction {
            Direction::Egress => packets::needs(self.direction),
            Direction::Ingress | Direction::Both => packets::needs_to_wait(self.direction),
        }
    }
}
