//! Tests on this machine's kernel, as root: real programs on real hooks, real servers, in network namespaces and cgroups
//! made for the test.

mod command;
mod connect;
mod counters;
mod deadline;
mod demo;
mod drop;
mod halt;
mod leftovers;
mod metrics;
mod packets;
mod protected;
mod redis;
mod scope;
mod seed;
mod verifier;
