//! What was found for the rows of an earlier packet: the words in which a clause matches. Rows have words in common in
//! which no clause matches, the more the more rules there are; packets of one kind pay for them once and not each time.
//!
//! An entry is two numbers that any CPU writes, one after the other and without a lock. What must stay true: a reader
//! believes it only if both were written together and for the very rows that are asked for (Hyatt and Mann, "A lock-less
//! transposition table implementation for parallel search", ICGA Journal 2002). Tables that were replaced are told apart
//! by [`crate::scope::Scope::salt`].

/// 2^64 divided by the golden ratio: multiplied by it, numbers that are close to each other end up far apart (Knuth, "The
/// Art of Computer Programming", volume 3, 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Entries, of which each has one place to be. A power of two.
pub const ENTRIES: usize = 1 << BITS;

const BITS: u32 = 10;

/// One entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Memo {
    check: u64,
    words: u64,
}

/// Stands for four rows, 16 bits each, of the tables that `salt` stands for: no other four of them have the same.
#[inline(always)]
pub const fn tag(rows: u64, salt: u64) -> u64 {
    rows ^ salt
}

/// The number of the entry where it is to be found.
#[inline(always)]
pub const fn place(tag: u64) -> u32 {
    (tag.wrapping_mul(GOLDEN) >> (u64::BITS - BITS)) as u32
}

impl Memo {
    /// An entry.
    #[inline(always)]
    pub const fn new(tag: u64, words: u64) -> Self {
        Self { check: tag ^ scattered(words), words }
    }

    /// As it was read, number by number.
    #[inline(always)]
    pub const fn of(check: u64, words: u64) -> Self {
        Self { check, words }
    }

    /// Its numbers, to be written.
    #[inline(always)]
    pub const fn numbers(self) -> (u64, u64) {
        (self.check, self.words)
    }

    /// Whether it is about `tag`; then [`Self::words`] counts.
    #[inline(always)]
    pub const fn is_of(self, tag: u64) -> bool {
        self.check ^ scattered(self.words) == tag
    }

    /// Bit `w`: a clause matches in word `w`.
    #[inline(always)]
    pub const fn words(self) -> u64 {
        self.words
    }
}

/// No two numbers have the same, and 0 has not 0: an entry that was never written is nobody's.
#[inline(always)]
const fn scattered(words: u64) -> u64 {
    (words ^ 0x6a09_e667_f3bc_c908).wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ENTRIES, Memo, place, tag};

    proptest! {
        #[test]
        fn an_entry_is_believed_for_its_rows_only(rows: u64, other: u64, salt: u64, later: u64, words: u64) {
            let entry = Memo::new(tag(rows, salt), words);
            prop_assert!(entry.is_of(tag(rows, salt)));
            prop_assert_eq!(words, entry.words());
            prop_assert!(rows == other || !entry.is_of(tag(other, salt)));
            prop_assert!(salt == later || !entry.is_of(tag(rows, later)));
            prop_assert!((place(tag(rows, salt)) as usize) < ENTRIES);
        }

        #[test]
        fn halves_of_two_entries_are_believed_for_neither(one: (u16, u8), other: (u16, u8), salt: u64) {
            prop_assume!(one.1 != other.1);
            // Few bits and small differences, as in life.
            let [(a, x), (b, y)] = [one, other].map(|(rows, words)| (tag(rows.into(), salt), u64::from(words)));
            let (check, _) = Memo::new(a, x).numbers();
            let (_, words) = Memo::new(b, y).numbers();
            let torn = Memo::of(check, words);
            prop_assert!(!torn.is_of(a) && !torn.is_of(b));
        }

        #[test]
        fn an_entry_that_was_never_written_is_not_believed(rows: u64, salt: u64) {
            prop_assert!(!Memo::default().is_of(tag(rows, salt)));
        }
    }
}
