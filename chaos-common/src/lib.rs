//! The contract between the kernel side (`chaos-ebpf`) and the user side (`chaos-daemon`) of kchaos.
//!
//! Everything that both sides must agree on lives here and nowhere else: the layout of every map value ([`rule`],
//! [`scope`], [`counters`], [`control`]), the match tables ([`table`]), the maths that decides whether a fault is
//! injected ([`draw`], [`pattern`], [`flow`], [`window`]), and that of what it does ([`delay`], [`rate`], [`corrupt`],
//! [`line`], [`lateness`], [`reject`], [`reset`], [`redirect`], [`checksum`]). The maths is ordinary Rust, tested on the host and compiled unchanged
//! into the kernel programs.
//!
//! What must stay true: types here are `repr(C)`, have no padding that is not named, and hold native-endian
//! integers unless a field says otherwise. [`layout`] checks sizes and offsets at compile time, on both sides.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod bit;
pub mod call;
pub mod checksum;
pub mod control;
pub mod corrupt;
pub mod counters;
pub mod delay;
pub mod draw;
pub mod flow;
pub mod host;
pub mod lateness;
pub mod layout;
pub mod line;
pub mod memo;
pub mod offsets;
pub mod pattern;
pub mod rate;
pub mod redirect;
pub mod reject;
pub mod reset;
pub mod rule;
pub mod scope;
pub mod table;
pub mod uses;
pub mod window;

/// Rules (compiled faults) that one experiment may hold.
pub const MAX_RULES: usize = 1024;
