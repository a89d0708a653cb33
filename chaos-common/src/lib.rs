//! The contract between the kernel side (`chaos-ebpf`) and the user side (`chaos-daemon`) of kchaos.
//!
//! Everything that both sides must agree on lives here and nowhere else: the layout of every map value
//! ([`rule`], [`scope`], [`counters`], [`control`]), the keys of the match tables ([`key`]), and the maths that
//! decides whether a fault is injected ([`draw`], [`window`]). The maths is ordinary Rust, tested on the host and
//! compiled unchanged into the kernel programs.
//!
//! What must stay true: types here are `repr(C)`, have no padding that is not named, and hold native-endian
//! integers unless a field says otherwise. [`layout`] checks sizes and offsets at compile time, on both sides.
#![no_std]

pub mod control;
pub mod counters;
pub mod draw;
pub mod host;
pub mod key;
pub mod layout;
pub mod rule;
pub mod scope;
pub mod window;

/// Rules (compiled faults) that one experiment may hold.
pub const MAX_RULES: usize = 32;

/// Clauses that one experiment may hold. A clause is one way to match: a set of addresses with one set of ports.
/// One bit of a [`ClauseBits`] each, so the number is that of the bits.
pub const MAX_CLAUSES: usize = 64;

/// A set of clauses as the match tables store it: bit `c % 32` of word `c / 32` is clause `c`.
///
/// Two 32-bit words and not one `u64`, because the kernel aligns the value of an LPM trie by the size of its key
/// (4 bytes for IPv4).
pub type ClauseBits = [u32; 2];

/// The set of clauses as one number, bit `c` is clause `c`.
#[inline(always)]
pub const fn clause_mask(bits: ClauseBits) -> u64 {
    bits[0] as u64 | (bits[1] as u64) << 32
}

/// The inverse of [`clause_mask`].
#[inline(always)]
pub const fn clause_bits(mask: u64) -> ClauseBits {
    [(mask & 0xffff_ffff) as u32, (mask >> 32) as u32]
}
