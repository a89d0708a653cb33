//! Networks to rows: builds the trie that [`chaos_common::table::row_of`] walks.
//!
//! Networks that are all on one side of a question are asked about together: a chain of blocks with one way each
//! becomes a short cut, a single network a short cut with its row at the end. So the trie has about as many nodes as there are
//! networks, however long their addresses are.

use chaos_common::table::{Block, Entry, ShortCut, words_of};

use super::rows::{Bits, Rows};

/// A network that belongs to a clause: its address (IPv4 in the first four bytes), its length in bits, the clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Bits past the length are zero.
    pub address: [u8; 16],
    /// 0 to 128.
    pub length: u32,
    /// Which clause.
    pub clause: usize,
}

impl Network {
    /// The values that a byte of addresses in this network can have: all of them past its length.
    fn range(&self, byte: u32) -> std::ops::RangeInclusive<u8> {
        let first = self.address[byte as usize];
        let known = self.length.saturating_sub(byte * 8).min(8);
        first..=first | u8::try_from(0xffu32 >> known).unwrap_or(0)
    }
}

/// The nodes that were made so far, for both families.
#[derive(Debug)]
pub struct Trie {
    /// 256-way nodes.
    pub blocks: Vec<Block>,
    /// Two-way nodes.
    pub short_cuts: Vec<ShortCut>,
    base: (u32, u32),
}

impl Trie {
    /// Nothing yet. The bases are the numbers of the first block and short cut.
    pub fn new(blocks: u32, short_cuts: u32) -> Self {
        Self { blocks: Vec::new(), short_cuts: Vec::new(), base: (blocks, short_cuts) }
    }

    /// The entries for the first two bytes of an address of one family.
    pub fn root(&mut self, networks: &[Network], rows: &mut Rows) -> Box<[u32; 1 << 16]> {
        let mut root = Vec::with_capacity(1 << 16);
        let (outer, inner) = part(networks, 0, &Bits::default());
        for first in 0..=u8::MAX {
            let below = through(&inner, 0, first);
            let (outer, inner) = part(&below, 1, &outer);
            let rest = Entry::row(rows.number(&outer)).0;
            for second in 0..=u8::MAX {
                let below = through(&inner, 1, second);
                root.push(if below.is_empty() { rest } else { self.entry(&below, 2, &outer, rows).0 });
            }
        }
        super::ports::boxed(root)
    }

    /// The entry for addresses whose first `byte` bytes are known. `outer` are the clauses that all of them fit.
    fn entry(&mut self, networks: &[Network], byte: u32, outer: &Bits, rows: &mut Rows) -> Entry {
        let (outer, inner) = part(networks, byte, outer);
        let Some(first) = inner.first() else { return Entry::row(rows.number(&outer)) };
        let common = inner.iter().map(|n| shared(first, n)).min().unwrap_or(0);
        let shortest = inner.iter().map(|n| n.length).min().unwrap_or(0);
        let same = common.min(shortest);
        if inner.iter().all(|n| n.length == same) {
            // One network, of one clause or several.
            let mut all = outer.clone();
            for network in &inner {
                all.set(network.clause);
            }
            let hit = Entry::row(rows.number(&all));
            return self.short_cut(first, same, hit, Entry::row(rows.number(&outer)));
        }
        if same / 8 > byte {
            let hit = self.block(&inner, same / 8, &outer, rows);
            return self.short_cut(first, same / 8 * 8, hit, Entry::row(rows.number(&outer)));
        }
        self.block(&inner, byte, &outer, rows)
    }

    fn block(&mut self, networks: &[Network], byte: u32, outer: &Bits, rows: &mut Rows) -> Entry {
        let (outer, inner) = part(networks, byte, outer);
        let index = self.blocks.len();
        self.blocks.push(Block { entries: [Entry::row(rows.number(&outer)).0; 256] });
        for value in 0..=u8::MAX {
            let below = through(&inner, byte, value);
            if !below.is_empty() {
                let entry = self.entry(&below, byte + 1, &outer, rows);
                if let Some(block) = self.blocks.get_mut(index) {
                    block.entries[usize::from(value)] = entry.0;
                }
            }
        }
        Entry::block(self.base.0 + u32::try_from(index).unwrap_or(u32::MAX), byte)
    }

    /// Asks about the first `length` bits of a network's address.
    fn short_cut(&mut self, like: &Network, length: u32, hit: Entry, miss: Entry) -> Entry {
        let mut mask = [0u8; 16];
        for (index, byte) in (0u32..).zip(&mut mask) {
            let known = length.saturating_sub(index * 8).min(8);
            *byte = u8::try_from((0xff00u32 >> known) & 0xff).unwrap_or(0);
        }
        let mut key = like.address;
        key.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
        let number = self.base.1 + u32::try_from(self.short_cuts.len()).unwrap_or(u32::MAX);
        self.short_cuts.push(ShortCut {
            mask: words_of(&mask),
            key: words_of(&key),
            hit: hit.0,
            miss: miss.0,
        });
        Entry::short_cut(number)
    }
}

/// Parts the networks at a byte: those that end before it hold for all addresses, the others are still to be asked
/// about.
fn part(networks: &[Network], byte: u32, outer: &Bits) -> (Bits, Vec<Network>) {
    let mut outer = outer.clone();
    let mut inner = Vec::new();
    for network in networks {
        if network.length <= byte * 8 {
            outer.set(network.clause);
        } else {
            inner.push(*network);
        }
    }
    (outer, inner)
}

/// Those that hold addresses with this value at a byte.
fn through(networks: &[Network], byte: u32, value: u8) -> Vec<Network> {
    networks.iter().filter(|n| n.range(byte).contains(&value)).copied().collect()
}

/// How many bits of their addresses are the same.
fn shared(a: &Network, b: &Network) -> u32 {
    (u128::from_be_bytes(a.address) ^ u128::from_be_bytes(b.address)).leading_zeros()
}
