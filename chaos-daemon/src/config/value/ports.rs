//! Ports: `5432`, `5432-5433`, `80,443,8000-8099`.

use std::{fmt, str::FromStr};

use super::{Invalid, deserialize_from_text};

/// A range of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port, not below `first`.
    pub last: u16,
}

/// One or more ranges of ports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ports(pub Vec<PortRange>);

deserialize_from_text!(Ports, "a port or ports such as 5432, \"8000-8099\" or \"80,443\"");

impl PortRange {
    /// The range as longest-prefix-match prefixes: (first port, prefix length in bits). At most 30.
    pub fn prefixes(self) -> Vec<(u16, u32)> {
        let mut out = Vec::new();
        let (mut next, last) = (u32::from(self.first), u32::from(self.last));
        while next <= last {
            // The largest aligned block that starts here and does not reach beyond the end.
            let aligned = if next == 0 { 16 } else { next.trailing_zeros().min(16) };
            let fits = (last - next + 1).ilog2();
            let size = aligned.min(fits);
            out.push((u16::try_from(next).unwrap_or(u16::MAX), 16 - size));
            next += 1 << size;
        }
        out
    }
}

impl FromStr for Ports {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for PortRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (first, last) = match text.split_once('-') {
            Some((first, last)) if !first.is_empty() => (port(first)?, port(last)?),
            _ => {
                let one = port(text)?;
                (one, one)
            }
        };
        if first > last {
            return Err(Invalid::new(
                format!("the port range {text} runs backwards"),
                format!("write \"{last}-{first}\""),
            ));
        }
        Ok(Self { first, last })
    }
}

fn port(text: &str) -> Result<u16, Invalid> {
    const HELP: &str = "ports lie between 1 and 65535: 5432, \"8000-8099\" or \"80,443\"";
    match text.trim().parse::<i64>() {
        Ok(n @ 1..=65535) => Ok(u16::try_from(n).unwrap_or(u16::MAX)),
        Ok(n) => Err(Invalid::new(format!("port {n} is out of range"), HELP)),
        Err(_) => Err(Invalid::new(format!("\"{text}\" is not a port"), HELP)),
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last } = self;
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prefixes_cover_exactly_the_range(a: u16, b: u16, probe: u16) {
            let range = PortRange { first: a.min(b), last: a.max(b) };
            let prefixes = range.prefixes();
            prop_assert!(prefixes.len() <= 30);
            let covered = |p: u16| prefixes.iter().filter(|(start, len)| {
                let mask = u32::from(u16::MAX) << (16 - len);
                u32::from(p) & mask == u32::from(*start) & mask
            }).count();
            for p in [probe, range.first, range.last, range.first.wrapping_sub(1), range.last.wrapping_add(1)] {
                let inside = (range.first..=range.last).contains(&p);
                prop_assert_eq!(usize::from(inside), covered(p), "port {}", p);
            }
        }

        #[test]
        fn text_round_trips(a in 1u16.., b in 1u16..) {
            let range = PortRange { first: a.min(b), last: a.max(b) };
            prop_assert_eq!(Ok(range), range.to_string().parse());
        }
    }

    #[test]
    fn refuses_what_is_no_port() {
        for bad in ["0", "65536", "-1", "http", "", "5-", "9-3", "80,,443"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }
}
