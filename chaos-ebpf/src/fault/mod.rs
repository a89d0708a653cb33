//! One file per kind of effect: what is done to a packet or call once the decision has fallen.

pub mod connect;
pub mod drop;
