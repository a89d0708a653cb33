//! Which bits of a packet are flipped, and what its receiver makes of it.

/// `numbers` of a rule: how many bits, 1 to [`MAX_BITS`].
pub const BITS: usize = 0;
/// `numbers` of a rule: [`DELIVERED`] or [`DISCARDED`].
pub const OUTCOME: usize = 1;

/// The checksum is made to fit: the application gets the flipped bits.
pub const DELIVERED: u64 = 0;
/// As on a wire: the receiver's checksum catches it. On lo and veth nobody looks at checksums, so that the packet is
/// lost here instead.
pub const DISCARDED: u64 = 1;

/// Bits that one packet may lose.
pub const MAX_BITS: u32 = 8;

/// A bit of a payload of `length` bytes, which must not be 0: offset of the byte, and the bit.
#[inline(always)]
pub const fn bit(length: u32, drawn: u32) -> (u32, u8) {
    let at = (drawn as u64 * (length as u64 * 8)) >> 32;
    ((at >> 3) as u32, 1 << (at & 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_inside_and_every_one_can_be_hit() {
        let mut seen = [0u8; 3];
        for i in 0..10_000u64 {
            let (at, bit) = bit(3, crate::draw::number(1, i, 0));
            seen[at as usize] |= bit;
        }
        assert_eq!([0xff; 3], seen);
        assert_eq!((0, 1), bit(1, 0));
        assert_eq!((0, 0x80), bit(1, u32::MAX));
    }
}
