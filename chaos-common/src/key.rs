//! Keys of the match tables. All are longest-prefix-match tries, so a table needs one lookup per packet however many
//! rules there are, and a range of ports is a handful of prefixes.
//!
//! A trie answers with the *longest* prefix only. User space therefore stores with every prefix the clauses of all
//! prefixes that cover it, and the kernel never has to ask twice.

/// Prefixes that each table may hold.
pub const MAX_PREFIXES: usize = 16_384;

/// Bits of a port key that precede nothing: the port is the first two bytes, in network byte order, the rest is zero.
/// Four bytes wide because the kernel aligns a trie's value by the size of its key.
pub type PortKey = [u8; 4];

/// The key of a port.
#[inline(always)]
pub const fn port_key(port: u16) -> PortKey {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// Length in bits of a whole port, the longest prefix in a port table.
pub const PORT_BITS: u32 = 16;
