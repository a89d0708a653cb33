//! `reorder`: some packets are held back, so that later ones of their flow overtake them. Kernel side:
//! `chaos-ebpf/src/fault/reorder.rs`.

use std::time::Duration;

use chaos_common::rule::{Rule, action};

use super::{Fault, Field, Kind, packets};
use crate::{
    bpf::Need,
    config::{
        Packets, Problem, Section,
        value::{Direction, Share, Span},
    },
};

/// How long a packet is held back if nobody says: long enough for others to overtake it in a flow that runs, and far
/// below the 200 ms after which TCP takes a packet for lost and repeats it.
const DEFAULT: Duration = Duration::from_millis(5);

/// The kind.
pub struct Reorder;

impl Kind for Reorder {
    fn name(&self) -> &'static str {
        "reorder"
    }

    fn about(&self) -> &'static str {
        "Hold some packets back, so that later ones overtake them"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 5] = packets::fields([packets::field(
            "delay",
            "DURATION",
            "How long they are held back: 100us to 10m (5ms)",
        )]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        let delay = section.get::<Span>("delay")?.as_ref().map_or(Ok(DEFAULT), packets::wait)?;
        let some = "\"5%\", how many are held back; the others overtake them";
        // Left in the section, where every fault's is read.
        match section.look_at::<Share>("probability")? {
            Some(share) if share.get_ref().fraction() < 1.0 => {}
            Some(share) => {
                let message = "where every packet is held back, none overtakes another";
                return Err(Problem::at(share.span(), message, "all of them")
                    .help("give a share below 100%, or write kind = \"delay\""));
            }
            // Its error says what to add.
            None => section.need::<Share>("probability", some).map(drop)?,
        }
        Ok((Box::new(ReorderFault { direction, delay }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "probability = \"25%\"\ndelay = \"10ms\"",
            "a quarter of the requests is 10 ms late; in a stream the next ones overtake",
        )
    }
}

#[derive(Debug)]
struct ReorderFault {
    direction: Direction,
    delay: Duration,
}

impl Fault for ReorderFault {
    fn kind(&self) -> &'static str {
        Reorder.name()
    }

    fn hooks(&self) -> u32 {
        packets::hooks(self.direction)
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::REORDER;
        rule.numbers[0] = packets::nanos(self.delay);
    }

    fn describe(&self) -> String {
        format!("hold packets {} back for {}, out of order", self.direction, Span(self.delay))
    }

    fn needs(&self) -> &[Need] {
        packets::needs_to_wait(self.direction)
    }
}
