//! What the entry programs share, in the order of a packet's way: [`parse`] reads the headers, [`select`] finds the
//! clauses that match, [`judge`] decides rule by rule with a [`draw`], [`count`] keeps the books; [`target`] and [`flow`]
//! know whose a packet is ([`receiver`]: who gets it) and which connection it belongs to. What leaves a packet on its way
//! is noted in a [`plan`] and done by [`act`], which may send it into the delay [`line`], in [`order`]. [`state`] is what
//! rules remember. [`packet`] and [`call`] string them together for packets and calls; [`skb`] is the packet, and [`kern`]
//! wraps helpers that need `unsafe`.
//!
//! Everything is inlined but the functions called `kchaos_*`. They are *global* functions of BPF: the verifier looks at
//! each of them once, whatever its arguments, and not again for every way that leads to it. So they take and give plain
//! numbers only, and the context.

pub mod act;
pub mod call;
pub mod count;
pub mod draw;
pub mod flow;
pub mod judge;
pub mod kern;
pub mod line;
pub mod log;
pub mod order;
pub mod packet;
pub mod parse;
pub mod plan;
pub mod receiver;
pub mod select;
pub mod skb;
pub mod state;
pub mod target;
