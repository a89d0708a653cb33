//! `corrupt`: bits of packets are flipped. Kernel side: `chaos-ebpf/src/fault/corrupt.rs`.
//!
//! Two things can come of that, and they have little in common, so a file says which: the receiver's checksum catches it
//! and the packet is lost (what netem's `corrupt` comes to, and the default), or the checksum fits and the application
//! gets wrong bytes.

use std::str::FromStr;

use chaos_common::{
    corrupt::{BITS, DELIVERED, DISCARDED, MAX_BITS, OUTCOME},
    rule::{Rule, action},
};
use toml::Spanned;

use super::{Fault, Field, Kind, packets};
use crate::{
    bpf::Need,
    config::{
        Packets, Problem, Section,
        value::{Count, Direction, Invalid, deserialize_from_text},
    },
};

/// The kind.
pub struct Corrupt;

impl Kind for Corrupt {
    fn name(&self) -> &'static str {
        "corrupt"
    }

    fn about(&self) -> &'static str {
        "Flip bits of packets: caught by the receiver's checksum, or delivered"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 6] = packets::fields([
            packets::field(
                "checksum",
                "broken|valid",
                "broken: the receiver discards the packet (the default); valid: the application gets the flipped bits",
            ),
            packets::field("bits", "NUMBER", "How many bits of a packet, 1 to 8 (1); with a valid checksum"),
        ]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        let checksum = section.get("checksum")?.map_or(Checksum::Broken, Spanned::into_inner);
        let bits = section.get::<Count>("bits")?;
        if let Some(bits) = bits.as_ref().filter(|bits| bits.get_ref().0 > MAX_BITS) {
            let message = format!("{} bits are more than are flipped in one packet", bits.get_ref());
            return Err(
                Problem::at(bits.span(), message, "too many").help(format!("write 1 to {MAX_BITS} bits"))
            );
        }
        if let Some(bits) = bits.as_ref().filter(|_| checksum == Checksum::Broken) {
            let message = "`bits` means nothing where the receiver discards the packet";
            return Err(Problem::at(bits.span(), message, "not with a broken checksum")
                .help("write checksum = \"valid\" to deliver the flipped bits, or leave `bits` out"));
        }
        let bits = bits.map_or(1, |bits| bits.into_inner().0);
        Ok((Box::new(CorruptFault { direction, checksum, bits }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "probability = \"10%\"\ndirection = \"both\"",
            "checksums catch it and TCP repeats it: a long tail of latency, as with drop",
        )
    }
}

/// What the receiver makes of the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksum {
    Broken,
    Valid,
}

deserialize_from_text!(Checksum, "\"broken\" or \"valid\"");

impl FromStr for Checksum {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "broken" => Ok(Self::Broken),
            "valid" => Ok(Self::Valid),
            _ => Err(Invalid::new(
                format!("unknown checksum \"{text}\""),
                "write \"broken\" for packets that the receiver discards, or \"valid\" for flipped bits that the \
                 application gets",
            )),
        }
    }
}

#[derive(Debug)]
struct CorruptFault {
    direction: Direction,
    checksum: Checksum,
    bits: u32,
}

impl Fault for CorruptFault {
    fn kind(&self) -> &'static str {
        Corrupt.name()
    }

    fn hooks(&self) -> u32 {
        packets::hooks(self.direction)
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::CORRUPT;
        rule.numbers[BITS] = u64::from(self.bits);
        rule.numbers[OUTCOME] = match self.checksum {
            Checksum::Broken => DISCARDED,
            Checksum::Valid => DELIVERED,
        };
    }

    fn describe(&self) -> String {
        let Self { direction, checksum, bits } = self;
        match checksum {
            Checksum::Broken => format!("corrupt packets {direction}, checksum broken"),
            Checksum::Valid => format!("flip {bits} bit(s) of packets {direction}, checksum valid"),
        }
    }

    fn needs(&self) -> &[Need] {
        packets::needs(self.direction)
    }
}
