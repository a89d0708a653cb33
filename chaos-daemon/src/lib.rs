//! The user side of kchaos. The way of a rule through it: [`config`] (text to a checked experiment), [`target`] (names
//! to a cgroup), [`fault`] (one file per kind), [`engine`] (compiles, starts, keeps alive, ends), [`bpf`] (maps first,
//! links last), [`metrics`] and reports. [`line`] is where packets wait; [`guard`] and [`preview`] stand beside it; [`cli`]
//! is what a person types.

pub mod bpf;
pub mod cli;
pub mod config;
pub mod engine;
pub mod fault;
pub mod guard;
pub mod line;
pub mod metrics;
pub mod preview;
mod printable;
mod rtnl;
pub mod target;
