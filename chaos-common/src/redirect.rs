//! Where a call goes instead of the far end that it names: another address, another port, or both. Each address family
//! has a part of its own, as a call keeps its family.

/// `numbers` of a rule: an IPv6 address, its bytes in network order, the first the lowest.
pub const ADDRESS6: [usize; 2] = [0, 1];
/// `numbers` of a rule: what becomes of IPv4, a [`Part`].
pub const V4: usize = 2;
/// `numbers` of a rule: what becomes of IPv6, a [`Part`]. Its address stands in [`ADDRESS6`].
pub const V6: usize = 3;

/// What becomes of the calls of one family, in one number: an IPv4 address, its bytes in network order, the first the
/// lowest; from bit 32 on a port, 0 for the one that the call names; then [`APPLIES`] and [`ADDRESS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(pub u64);

/// In a [`Part`]: calls of this family go elsewhere.
const APPLIES: u64 = 1 << 48;
/// In a [`Part`]: to another address, and not only to another port.
const ADDRESS: u64 = 1 << 49;

impl Part {
    /// Calls of this family cannot be sent elsewhere.
    pub const NONE: Self = Self(0);

    /// To an IPv4 address. A port of 0 stays as it is.
    pub const fn v4(address: [u8; 4], port: u16) -> Self {
        Self(APPLIES | ADDRESS | (port as u64) << 32 | u32::from_le_bytes(address) as u64)
    }

    /// To the IPv6 address that stands elsewhere.
    pub const fn v6(port: u16) -> Self {
        Self(APPLIES | ADDRESS | (port as u64) << 32)
    }

    /// To the same address.
    pub const fn same_address(port: u16) -> Self {
        Self(APPLIES | (port as u64) << 32)
    }

    /// Whether calls of this family go elsewhere.
    #[inline(always)]
    pub const fn applies(self) -> bool {
        self.0 & APPLIES != 0
    }

    /// Whether their address is another one.
    #[inline(always)]
    pub const fn has_address(self) -> bool {
        self.0 & ADDRESS != 0
    }

    /// The IPv4 address as it lies in memory in network order.
    #[inline(always)]
    pub const fn address(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    /// Their port, or 0 for the one that the call names.
    #[inline(always)]
    pub const fn port(self) -> u16 {
        (self.0 >> 32 & 0xffff) as u16
    }
}

/// One of the four words of an IPv6 address, as it lies in memory in network order.
#[inline(always)]
pub const fn word6(numbers: &[u64; 4], word: usize) -> u32 {
    (numbers[ADDRESS6[word / 2 % 2]] >> (word % 2 * 32) & 0xffff_ffff) as u32
}

/// An IPv6 address for [`ADDRESS6`].
#[expect(clippy::cast_possible_truncation, reason = "two halves of one number")]
pub const fn words6(address: [u8; 16]) -> [u64; 2] {
    let all = u128::from_le_bytes(address);
    [all as u64, (all >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), port in any::<u16>()) {
            let part = Part::v4(v4, port);
            prop_assert!(part.applies() && part.has_address());
            prop_assert_eq!((v4, port), (part.address().to_ne_bytes(), part.port()));
            let [first, second] = words6(v6);
            let numbers = [first, second, Part::NONE.0, Part::v6(port).0];
            let mut bytes = [0; 16];
            for word in 0..4 {
                bytes[word * 4..][..4].copy_from_slice(&word6(&numbers, word).to_ne_bytes());
            }
            prop_assert_eq!(v6, bytes);
            prop_assert_eq!(port, Part(numbers[V6]).port());
        }
    }

    #[test]
    fn a_part_says_no_more_than_it_should() {
        assert!(!Part::NONE.applies() && !Part::NONE.has_address());
        let port = Part::same_address(u16::MAX);
        assert_eq!((true, false, u16::MAX), (port.applies(), port.has_address(), port.port()));
        assert_eq!(0, Part::v4([255; 4], 0).port());
    }
}
