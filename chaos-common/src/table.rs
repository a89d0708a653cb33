//! The match tables: from the fields of a packet or call to the clauses that it fits.
//!
//! A clause is one way to match, "these addresses with these ports", and one bit. Every field leads to a [`Row`], the
//! set of clauses that it fits; what all rows have in common matches (bit vectors: Lakshman and Stiliadis, SIGCOMM
//! 1998). A row says in one number which of its words are not empty, so that few of them need to be looked at
//! (aggregated bit vectors: Baboescu and Varghese, SIGCOMM 2001). Neither grows with the number of clauses.
//!
//! Ports lead to their row by an array. Addresses do by a trie of 256-way [`Block`]s whose chains are shortened by
//! [`ShortCut`]s, the first two bytes by an array; [`row_of`] walks it, on both sides of the contract.
//!
//! There are two generations of everything, and one number ([`crate::scope::Scope::generation`]) that says which one
//! counts. A program reads that number once, so it sees the old tables or the new ones and never a mixture. Every
//! number of a block, short cut, row or rule is absolute: it counts through both generations.

/// Words of a row.
pub const WORDS: usize = 64;

/// Clauses of a word.
pub const WORD_BITS: usize = 64;

/// Clauses that one experiment may hold: one bit each.
pub const MAX_CLAUSES: usize = WORDS * WORD_BITS;

/// Rows that one generation may hold.
pub const MAX_ROWS: usize = 16_384;

/// Blocks that one generation may hold.
pub const MAX_BLOCKS: usize = 8_192;

/// Short cuts that one generation may hold.
pub const MAX_SHORT_CUTS: usize = 32_768;

/// Old and new.
pub const GENERATIONS: usize = 2;

/// A set of clauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Row {
    /// Bit `w`: word `w` is not zero.
    pub summary: u64,
    /// Clause `c` is bit `c % 64` of word `c / 64`.
    pub words: [u64; WORDS],
}

/// Where the number of a row is kept.
pub type RowId = u16;

/// What the fields of a packet lead to, but for the deeper bytes of its address.
#[repr(C)]
pub struct Fields {
    /// By the first two bytes of an IPv4 far end: an [`Entry`].
    pub root4: [u32; 1 << 16],
    /// By the first two bytes of an IPv6 far end: an [`Entry`].
    pub root6: [u32; 1 << 16],
    /// By port of the far end.
    pub far_port: [RowId; 1 << 16],
    /// By port of the near end. Port 0, which nobody can name, is a port that is not known.
    pub near_port: [RowId; 1 << 16],
    /// By hook (its bit's number) and protocol.
    pub protocol: [[RowId; 256]; HOOKS],
    /// Clause to rule.
    pub rule_of: [u16; MAX_CLAUSES],
    /// Clauses that match; the others exclude, or protect.
    pub matching: [u64; WORDS],
    /// Clauses that ask for no port at all: all that a packet without ports can fit.
    pub portless: RowId,
    /// The word in which the clauses are that protect.
    pub protected_word: u16,
    /// Keeps what follows aligned.
    pub reserved: u32,
    /// These clauses protect: a match forbids injection.
    pub protected: u64,
}

/// Hooks that have a table of protocols: as many as there are bits in [`crate::rule::hook`].
pub const HOOKS: usize = 26;

const _: () = assert!(crate::rule::hook::POLL.trailing_zeros() as usize + 1 == HOOKS, "a hook has no table");

/// 256 ways to go on, by one byte of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Block {
    /// An [`Entry`] each.
    pub entries: [u32; 256],
}

/// One question about many bits of the address, where a chain of blocks would have one way each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ShortCut {
    /// The bits that are asked about, as [`words_of`] makes them.
    pub mask: [u64; 2],
    /// What they must be.
    pub key: [u64; 2],
    /// The [`Entry`] if they are.
    pub hit: u32,
    /// The [`Entry`] if they are not.
    pub miss: u32,
}

/// One step in the trie of addresses: two bits of kind, four bits that number a byte, and an absolute number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u32);

const KIND_SHIFT: u32 = 30;
const BYTE_SHIFT: u32 = 26;
const NUMBER: u32 = (1 << BYTE_SHIFT) - 1;
const BLOCK: u32 = 1;
const SHORT_CUT: u32 = 2;

impl Entry {
    /// The end: this row.
    pub const fn row(row: RowId) -> Self {
        Self(row as u32)
    }

    /// Go on in this block, by this byte of the address.
    pub const fn block(number: u32, byte: u32) -> Self {
        Self(BLOCK << KIND_SHIFT | (byte & 15) << BYTE_SHIFT | number & NUMBER)
    }

    /// Ask this question.
    pub const fn short_cut(number: u32) -> Self {
        Self(SHORT_CUT << KIND_SHIFT | number & NUMBER)
    }
}

/// Steps in the trie at most: fourteen bytes below the root, a block and a short cut for each.
pub const MAX_STEPS: usize = 28;

/// Where blocks and short cuts are kept.
pub trait Nodes {
    /// The entry of a block at a byte.
    fn entry(&self, block: u32, byte: u8) -> Option<u32>;
    /// A short cut.
    fn short_cut(&self, number: u32) -> Option<&ShortCut>;
}

/// The row of an address, starting from its root's entry. `address` is as [`words_of`] makes it.
#[inline(always)]
pub fn row_of(nodes: &impl Nodes, root: u32, address: [u64; 2]) -> Option<RowId> {
    let (mut entry, mut steps) = (root, 0);
    // A range would count as well, with twice the instructions.
    loop {
        match entry >> KIND_SHIFT {
            BLOCK => {
                let byte = entry >> BYTE_SHIFT & 15;
                let word = if byte < 8 { address[0] } else { address[1] };
                entry = nodes.entry(entry & NUMBER, (word >> (8 * (byte & 7)) & 0xff) as u8)?;
            }
            SHORT_CUT => {
                let short_cut = nodes.short_cut(entry & NUMBER)?;
                let wrong = (address[0] & short_cut.mask[0] ^ short_cut.key[0])
                    | (address[1] & short_cut.mask[1] ^ short_cut.key[1]);
                entry = if wrong == 0 { short_cut.hit } else { short_cut.miss };
            }
            _ => return Some((entry & 0xffff) as RowId),
        }
        steps += 1;
        if steps > MAX_STEPS {
            return None;
        }
    }
}

/// An address as two numbers, its first byte the lowest. IPv4 addresses stand in the first four bytes.
#[inline(always)]
pub const fn words_of(a: &[u8; 16]) -> [u64; 2] {
    [
        u64::from_le_bytes([a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]]),
        u64::from_le_bytes([a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]),
    ]
}
