//! Hands out clauses, so that all of a rule's are in one word and rules keep their order.

use chaos_common::table::{MAX_CLAUSES, WORD_BITS};

use super::{
    addresses::Network,
    rows::{Bits, Rows},
};
use crate::config::value::PortRange;

/// Clauses given away so far, and what they ask for.
#[derive(Debug)]
pub struct Clauses {
    used: usize,
    /// IPv4 far ends.
    pub peers4: Vec<Network>,
    /// IPv6 far ends.
    pub peers6: Vec<Network>,
    /// Ports of the far end.
    pub far: Vec<(PortRange, usize)>,
    /// Ports of the near end.
    pub near: Vec<(PortRange, usize)>,
    /// Those that ask for no port at all.
    pub portless: Bits,
    /// Clause to rule.
    pub rule_of: Vec<u16>,
    /// Those that match, and do not exclude or protect.
    pub matching: Bits,
}

/// Every port, also the one that is not known.
const EVERY_PORT: PortRange = PortRange { first: 0, last: u16::MAX };

impl Default for Clauses {
    fn default() -> Self {
        Self {
            used: 0,
            peers4: Vec::new(),
            peers6: Vec::new(),
            far: Vec::new(),
            near: Vec::new(),
            portless: Bits::default(),
            rule_of: vec![0; MAX_CLAUSES],
            matching: Bits::default(),
        }
    }
}

impl Clauses {
    /// `count` clauses in one word: the number of the first. `None`: there are not that many left, or in any word.
    pub fn take(&mut self, count: usize) -> Option<usize> {
        let left = WORD_BITS - self.used % WORD_BITS;
        let first = if count <= left { self.used } else { self.used + left };
        if count > WORD_BITS || first + count > MAX_CLAUSES {
            return None;
        }
        self.used = first + count;
        Some(first)
    }

    /// How many words there are clauses in.
    pub fn words(&self) -> u32 {
        u32::try_from(self.used.div_ceil(WORD_BITS)).unwrap_or(u32::MAX)
    }

    /// What a clause asks of the ports. No range: nothing.
    pub fn ports(&mut self, clause: usize, far: &[PortRange], near: &[PortRange]) {
        if far.is_empty() && near.is_empty() {
            self.portless.set(clause);
        }
        for (table, ranges) in [(&mut self.far, far), (&mut self.near, near)] {
            let ranges = if ranges.is_empty() { &[EVERY_PORT][..] } else { ranges };
            table.extend(ranges.iter().map(|range| (*range, clause)));
        }
    }

    /// What it asks of the address.
    pub fn network(&mut self, clause: usize, network: ipnet::IpNet) {
        let length = u32::from(network.prefix_len());
        match network {
            ipnet::IpNet::V4(network) => {
                let mut address = [0; 16];
                address[..4].copy_from_slice(&network.network().octets());
                self.peers4.push(Network { address, length, clause });
            }
            ipnet::IpNet::V6(network) => {
                self.peers6.push(Network { address: network.network().octets(), length, clause });
            }
        }
    }

    /// The row of the clauses that ask for no port.
    pub fn portless_row(&self, rows: &mut Rows) -> u16 {
        rows.number(&self.portless)
    }
}
