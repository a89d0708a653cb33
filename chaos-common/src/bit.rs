//! The lowest bit of a number, for a machine without an instruction for it (eBPF): a multiplication and a table.
//!
//! Source: Leiserson, Prokop, Randall: "Using de Bruijn Sequences to Index a 1 in a Computer Word", 1998. Every six bits
//! in a row of the factor differ from all others, so a single bit times the factor has a number of its own on top.

const FACTOR: u64 = 0x03f7_9d71_b4cb_0a89;

/// Where in [`NUMBERS`] the number of the lowest bit is; of no bit at all, where the first stands.
#[inline(always)]
pub const fn place(bits: u64) -> u8 {
    (bits & bits.wrapping_neg()).wrapping_mul(FACTOR).to_be_bytes()[0] >> 2
}

/// The numbers of bits, by their [`place`].
pub static NUMBERS: [u8; 64] = numbers();

const fn numbers() -> [u8; 64] {
    let (mut table, mut bit) = ([0; 64], 0);
    while bit < 64 {
        table[place(1 << bit) as usize] = bit;
        bit += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_lowest_bit() {
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for lowest in 0..64 {
            for above in [0, u64::MAX, bits] {
                let number = 1 << lowest | above & (u64::MAX << lowest);
                assert_eq!(lowest, u32::from(NUMBERS[place(number) as usize]), "{number:#x}");
            }
            bits = bits.rotate_left(7);
        }
    }
}
