//! `reject`: packets are refused, and their sender is told at once. Kernel side: `chaos-ebpf/src/fault/reject.rs`.

use std::{fmt, str::FromStr};

use chaos_common::{
    reject::WITH,
    rule::{Rule, action},
};
use toml::Spanned;

use super::{Fault, Field, Kind, packets};
use crate::{
    bpf::Need,
    config::{
        Packets, Problem, Section,
        value::{Direction, Invalid, deserialize_from_text},
    },
};

/// The kind.
pub struct Reject;

impl Kind for Reject {
    fn name(&self) -> &'static str {
        "reject"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["refuse", "unreachable"]
    }

    fn about(&self) -> &'static str {
        "Refuse packets and tell their sender: TCP by a reset, the rest by ICMP"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 5] = packets::fields([packets::field(
            "with",
            "port|host|network|admin",
            "Which \"unreachable\" ICMP says (port); TCP is always told by a reset",
        )]);
        &FIELDS
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        let direction = packets::direction(section)?;
        let with = section.get("with")?.map_or(With::Port, Spanned::into_inner);
        Ok((Box::new(RejectFault { direction, with }), Packets::read(section)?))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        ("", "every connection is refused at once: no request succeeds, and none is slow")
    }
}

/// What ICMP calls unreachable; the numbers are those of `chaos_common::reject::CODES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum With {
    Port = 0,
    Host = 1,
    Network = 2,
    Admin = 3,
}

deserialize_from_text!(With, "\"port\", \"host\", \"network\" or \"admin\"");

impl FromStr for With {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // As iptables, nftables and others write it, too.
        let plain =
            ["icmp-", "icmpx-", "icmp6-"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        match plain {
            "port" | "port-unreachable" => Ok(Self::Port),
            "host" | "host-unreachable" => Ok(Self::Host),
            "network" | "net" | "network-unreachable" | "net-unreachable" => Ok(Self::Network),
            "admin" | "admin-prohibited" => Ok(Self::Admin),
            "tcp-reset" => Err(Invalid::new(
                "TCP is always told by a reset",
                "leave `with` out; it says what ICMP tells the senders of everything else",
            )),
            _ => Err(Invalid::new(
                format!("packets are not rejected with \"{text}\""),
                "write \"port\", \"host\" or \"network\" for what is unreachable, or \"admin\" for what is prohibited",
            )),
        }
    }
}

impl fmt::Display for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "port unreachable",
            Self::Host => "host unreachable",
            Self::Network => "network unreachable",
            Self::Admin => "administratively prohibited",
        })
    }
}

#[derive(Debug)]
struct RejectFault {
    direction: Direction,
    with: With,
}

impl Fault for RejectFault {
    fn kind(&self) -> &'static str {
        Reject.name()
    }

    fn hooks(&self) -> u32 {
        packets::hooks(self.direction)
    }

    fn encode(&self, rule: &mut Rule) {
        rule.action = action::REJECT;
        rule.numbers[WITH] = self.with as u64;
    }

    fn describe(&self) -> String {
        format!("reject packets {} ({})", self.direction, self.with)
    }

    fn needs(&self) -> &[Need] {
        packets::needs(self.direction)
    }
}
