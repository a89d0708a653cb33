//! The identity of a connection: one number for both of its directions, seen from either of its ends.
//!
//! A rule with `flows = "10%"` draws once for each connection, so every packet of it must lead to the same number: the
//! sum over both ends of a hash of address and port, hashed with the protocol. What has no ports counts as one
//! connection between two addresses.

use crate::draw::mix;

/// A connection that is not known: a later fragment, which carries no ports.
pub const UNKNOWN: u64 = 0;

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// One end. The address is as [`crate::table::words_of`] makes it, the port in host byte order.
#[inline(always)]
pub const fn end(address: [u64; 2], port: u16) -> u64 {
    let low = mix(address[0].wrapping_add(GOLDEN_GAMMA));
    let high = mix(low.wrapping_add(address[1]).wrapping_add(GOLDEN_GAMMA));
    mix(high.wrapping_add(port as u64).wrapping_add(GOLDEN_GAMMA))
}

/// The connection between two ends; never [`UNKNOWN`].
#[inline(always)]
pub const fn between(one: u64, other: u64, protocol: u8) -> u64 {
    mix(one.wrapping_add(other).wrapping_add(protocol as u64)) | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_directions_are_one_connection(a: [u64; 2], b: [u64; 2], p: u16, q: u16, protocol: u8) {
            let there = between(end(a, p), end(b, q), protocol);
            prop_assert_eq!(there, between(end(b, q), end(a, p), protocol));
            prop_assert_ne!(UNKNOWN, there);
        }
    }

    #[test]
    fn neighbouring_ports_are_other_connections() {
        let mut seen: [u64; 2000] = core::array::from_fn(|port| {
            between(end([1, 2], 80), end([3, 4], u16::try_from(port).unwrap_or(0) + 1), 6)
        });
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
        assert_ne!(seen[0], between(end([1, 2], 80), end([3, 4], 1), 17));
    }
}
