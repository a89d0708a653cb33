//! What a sender is told whose packet is rejected, where its protocol has no reset of its own: the codes of "destination
//! unreachable" (RFC 792 and 1812, RFC 4443).

/// `numbers` of a rule: which of [`CODES`].
pub const WITH: usize = 0;

/// Type and code in ICMP, type and code in `ICMPv6`.
pub type Code = [u8; 4];

/// Port, host, network, administratively prohibited.
pub const CODES: [Code; 4] = [[3, 3, 1, 4], [3, 1, 1, 3], [3, 0, 1, 0], [3, 13, 1, 1]];

/// Its code in a rule that asks for `with`; of a number that is none of them, that of the first.
#[inline(always)]
pub const fn code(with: u64) -> Code {
    match with {
        1 => CODES[1],
        2 => CODES[2],
        3 => CODES[3],
        _ => CODES[0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_that_of_its_number() {
        for (with, expected) in (0..).zip(CODES) {
            assert_eq!(expected, code(with));
        }
    }
}
