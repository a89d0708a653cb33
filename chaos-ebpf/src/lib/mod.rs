//! What the entry programs share, in the order of a packet's way: [`parse`] reads the headers, [`select`] finds the
//! clauses that match, [`judge`] decides rule by rule, [`count`] keeps the books; [`target`] and [`flow`] know whose a
//! packet is and which connection it belongs to. [`packet`] and [`call`] string them together for packets and calls;
//! [`kern`] wraps the few helpers that need `unsafe`.
//!
//! Everything is inlined but the functions called `kchaos_*`. They are *global* functions of BPF: the verifier looks at
//! each of them once, whatever its arguments, and not again for every way that leads to it. So they take and give plain
//! numbers only, and the context.

pub mod call;
pub mod count;
pub mod flow;
pub mod judge;
pub mod kern;
pub mod log;
pub mod packet;
pub mod parse;
pub mod select;
pub mod target;
