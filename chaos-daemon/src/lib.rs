//! The user side of kchaos. The way of a rule through it: [`config`] (text to a checked experiment), [`target`] (names
//! to a cgroup), [`fault`] (one file per kind), [`engine`] (compiles, starts, keeps alive, ends), [`bpf`] (maps first,
//! links last), [`metrics`] and reports. [`line`] is where packets wait; [`measure`] looks at how others fare; [`resource`] is what acts from user space; [`guard`]
//! and [`preview`] stand beside it; [`cli`] is what a person types. [`schedule`] says when an experiment may
//! run, [`annotate`] tells others that it does.

pub mod annotate;
pub mod api;
pub mod bpf;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
mod exchange;
pub mod failure;
pub mod fault;
pub mod guard;
pub mod line;
pub mod load;
pub mod measure;
pub mod metrics;
pub mod preview;
mod printable;
pub mod record;
mod resolver;
pub mod resource;
mod rtnl;
pub mod schedule;
mod serve;
mod sock_diag;
pub mod steady;
pub mod target;
