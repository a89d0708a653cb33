//! One file per kind of effect: what is done to a packet or call once the decision has fallen.

pub mod call;
pub mod connect;
pub mod corrupt;
pub mod delay;
pub mod drop;
pub mod duplicate;
pub mod rate;
pub mod reject;
pub mod reorder;
pub mod reset;
