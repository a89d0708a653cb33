//! What the entry programs share, in the order of a packet's way: [`parse`] reads the headers, [`select`] finds the
//! clauses that match, [`judge`] decides rule by rule, [`count`] keeps the books. [`packet`] and [`call`] string them
//! together for packets and calls; [`kern`] wraps the few helpers that need `unsafe`.

pub mod call;
pub mod count;
pub mod judge;
pub mod kern;
pub mod log;
pub mod packet;
pub mod parse;
pub mod select;
