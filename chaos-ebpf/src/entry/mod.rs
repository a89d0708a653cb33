//! One file per hook, or per family of them: the program's section, nothing but a call into [`crate::lib`].

mod again;
mod cgroup_ingress;
mod connect;
mod files;
mod line;
mod paths;
mod sockets;
mod syscalls;
mod tasks;
mod tc_egress;
mod tc_ingress;
