//! What the kinds for packets share: their direction, where they sit, what they need, and how long a packet may wait.
//!
//! `drop` can lose what is received at the socket, where it is known whose it is. Whatever else is done to a packet takes
//! a device: a cgroup program can let it pass or lose it, and nothing more. So these kinds sit at
//! [`hook::ARRIVAL`], not at [`hook::INGRESS`].

use std::time::Duration;

use chaos_common::rule::hook;
use toml::Spanned;

use super::{Field, Takes};
use crate::{
    bpf::{Feature, Need},
    config::{
        Packets, Problem, Section,
        value::{Direction, Span},
    },
};

/// The field `direction`.
const DIRECTION: Field = Field {
    name: "direction",
    value: "egress|ingress|both",
    help: "Packets the target sends (egress, the default), receives (ingress), or both",
    takes: Takes::One,
};

const SHARED: usize = Packets::FIELDS.len() + 1;

/// A kind's own fields, and behind them those of all kinds for packets. `ALL` is what that comes to.
pub const fn fields<const OWN: usize, const ALL: usize>(own: [Field; OWN]) -> [Field; ALL] {
    assert!(ALL == OWN + SHARED, "the list of fields has another length");
    let mut all = [DIRECTION; ALL];
    let mut i = 0;
    while i < OWN {
        all[i] = own[i];
        i += 1;
    }
    // Between the two stands DIRECTION, which is there already.
    i += 1;
    while i < ALL {
        all[i] = Packets::FIELDS[i - OWN - 1];
        i += 1;
    }
    all
}

/// The same without `direction`, for kinds that work both ways.
pub const fn fields_both_ways<const OWN: usize, const ALL: usize>(own: [Field; OWN]) -> [Field; ALL] {
    assert!(ALL == OWN + Packets::FIELDS.len(), "the list of fields has another length");
    let mut all = [DIRECTION; ALL];
    let mut i = 0;
    while i < ALL {
        all[i] = if i < OWN { own[i] } else { Packets::FIELDS[i - OWN] };
        i += 1;
    }
    all
}

/// A field that is given once.
pub const fn field(name: &'static str, value: &'static str, help: &'static str) -> Field {
    Field { name, value, help, takes: Takes::One }
}

/// Reads `direction`.
pub fn direction(section: &mut Section<'_>) -> Result<Direction, Problem> {
    Ok(section.get("direction")?.map_or(Direction::Egress, Spanned::into_inner))
}

/// Where a kind sits that needs the packet at a device.
pub const fn hooks(direction: Direction) -> u32 {
    match direction {
        Direction::Egress => hook::EGRESS,
        Direction::Ingress => hook::ARRIVAL,
        Direction::Both => hook::EGRESS | hook::ARRIVAL,
    }
}

const EGRESS: Need = Feature::TcEgress.any_way();
const ARRIVAL: Need = Feature::TcIngress.any_way();
const LINE: Need = Feature::DelayLine.any_way();

/// What that takes.
pub const fn needs(direction: Direction) -> &'static [Need] {
    match direction {
        Direction::Egress => &[EGRESS],
        Direction::Ingress => &[ARRIVAL],
        Direction::Both => &[EGRESS, ARRIVAL],
    }
}

/// What it takes where there must be a delay line, too.
pub const fn needs_to_wait(direction: Direction) -> &'static [Need] {
    match direction {
        Direction::Egress => &[EGRESS, LINE],
        Direction::Ingress => &[ARRIVAL, LINE],
        Direction::Both => &[EGRESS, ARRIVAL, LINE],
    }
}

/// The shortest delay: below it, what the kernel takes to handle a packet is no longer small.
pub const SHORTEST: Duration = Duration::from_micros(100);

/// The longest delay.
pub const LONGEST: Duration = Duration::from_mins(10);

/// Refuses a delay that is outside [`SHORTEST`] to [`LONGEST`].
pub fn wait(delay: &Spanned<Span>) -> Result<Duration, Problem> {
    let Span(length) = *delay.get_ref();
    if (SHORTEST..=LONGEST).contains(&length) {
        return Ok(length);
    }
    let limits = format!("a delay lies between {} and {}", Span(SHORTEST), Span(LONGEST));
    let (message, help) = match length {
        Duration::ZERO => ("a delay of zero delays nothing".to_owned(), limits),
        short if short < SHORTEST => (format!("the delay of {} is too short", Span(short)), limits),
        long => (
            format!("the delay of {} is too long", Span(long)),
            format!("{limits}; for a far end that never answers write kind = \"drop\""),
        ),
    };
    Err(Problem::at(delay.span(), message, "here").help(help))
}

/// In the unit of rules.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::fault::KINDS;

    /// Each flag of `kchaos inject` once, and those of packets all or none.
    #[test]
    fn fields_are_complete_and_named_once() {
        for kind in KINDS {
            let mut names: Vec<&str> = kind.fields().iter().map(|field| field.name).collect();
            let has = |name: &str| names.contains(&name);
            let of_packets = ["local_port", "flows", "new_only"].map(has);
            // Some calls know their near port.
            let of_calls = kind.name() == "call" && of_packets == [true, false, false];
            let none = of_packets == [false; 3] || of_calls;
            assert!(of_packets == [true; 3] || none && !has("direction"), "{names:?}");
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(all, names.len(), "{names:?}");
        }
    }
}
