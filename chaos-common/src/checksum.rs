//! The Internet checksum (RFC 1071): the complement of a sum of 16-bit words in ones' complement. Sums of words as they
//! lie in memory, so that nothing has to be turned round.

/// A sum, in 16 bits.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "what is above 16 bits has been added to them")]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// What a header ends its sum with besides addresses: the pseudo header's protocol and length (RFC 793, RFC 8200).
#[inline(always)]
pub const fn pseudo(protocol: u8, length: u16) -> u64 {
    (protocol as u16).to_be() as u64 + length.to_be() as u64
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use proptest::prelude::*;

    fn plain(bytes: &[u8]) -> u16 {
        let words =
            bytes.chunks(2).map(|two| u32::from(u16::from_ne_bytes([two[0], *two.get(1).unwrap_or(&0)])));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn words_of_any_width_come_to_the_same(words in proptest::collection::vec(any::<[u8; 4]>(), 1..64)) {
            let bytes: Vec<u8> = words.concat();
            let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
            prop_assert_eq!(plain(&bytes), fold(sum));
        }
    }

    /// The example of RFC 1071, 3.
    #[test]
    fn is_that_of_the_standard() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!([0xdd, 0xf2], plain(&bytes).to_ne_bytes());
        let words = [[0x00, 0x01, 0xf2, 0x03], [0xf4, 0xf5, 0xf6, 0xf7]].map(u32::from_ne_bytes);
        assert_eq!([0xdd, 0xf2], fold(words.map(u64::from).iter().sum()).to_ne_bytes());
        // The largest sum of 64 words, for which every step is needed.
        assert_eq!(0xffff, fold(64 * u64::from(u32::MAX)));
        assert_eq!([0, 6 + 20], fold(pseudo(6, 20)).to_ne_bytes());
    }
}
