//! Sets of clauses, each stored once.

use std::collections::HashMap;

use chaos_common::table::{Row, RowId, WORD_BITS, WORDS};

/// A set of clauses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bits(pub [u64; WORDS]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Bits {
    /// Adds a clause.
    pub fn set(&mut self, clause: usize) {
        self.0[clause / WORD_BITS] |= 1 << (clause % WORD_BITS);
    }

    /// Takes a clause out.
    pub fn unset(&mut self, clause: usize) {
        self.0[clause / WORD_BITS] &= !(1 << (clause % WORD_BITS));
    }

    /// Adds all clauses of another set.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
}

/// All sets that some field leads to. The first is the empty one.
#[derive(Debug)]
pub struct Rows {
    numbers: HashMap<Bits, RowId>,
    made: Vec<Row>,
    base: RowId,
}

impl Rows {
    /// None but the empty one. `base` is the number of the first.
    pub fn new(base: RowId) -> Self {
        let mut rows = Self { numbers: HashMap::new(), made: Vec::new(), base };
        rows.number(&Bits::default());
        rows
    }

    /// The number of a set. Past what a number can say it is that of the empty one; that is more than there is room
    /// for, which whoever builds tables checks at the end.
    pub fn number(&mut self, bits: &Bits) -> RowId {
        if let Some(number) = self.numbers.get(bits) {
            return *number;
        }
        let Some(number) = RowId::try_from(self.made.len()).ok().and_then(|n| n.checked_add(self.base))
        else {
            return self.base;
        };
        let summary =
            (0u32..).zip(&bits.0).filter(|(_, word)| **word != 0).fold(0, |sum, (w, _)| sum | 1 << w);
        self.made.push(Row { summary, words: bits.0 });
        self.numbers.insert(bits.clone(), number);
        number
    }

    /// All of them, in the order of their numbers.
    pub fn into_rows(self) -> Vec<Row> {
        self.made
    }
}
