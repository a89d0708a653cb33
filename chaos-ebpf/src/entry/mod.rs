//! One file per hook: the program's section, nothing but a call into [`crate::lib`].

mod cgroup_ingress;
mod connect;
mod line;
mod tc_egress;
mod tc_ingress;
