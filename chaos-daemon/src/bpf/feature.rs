//! What a kernel must be able to do for a fault, and whether this one can: found out by doing it, never by its version.

use std::fmt;

use nix::sched::{CloneFlags, unshare};

use super::{BpfError, Object};
use crate::target::{Hierarchy, OwnCgroup};

/// One way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// tcx programs on egress (Linux 6.6).
    TcEgress,
    /// `cgroup_skb` ingress programs with BPF links and the boot clock (5.8).
    CgroupIngress,
    /// `cgroup_sock_addr` programs with return values of their own (5.18).
    CgroupConnect,
}

impl Feature {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::TcEgress, Self::CgroupIngress, Self::CgroupConnect];

    /// The programs it takes.
    pub const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::TcEgress => &["kchaos_egress"],
            Self::CgroupIngress => &["kchaos_ingress"],
            Self::CgroupConnect => {
                &["kchaos_connect4", "kchaos_connect6", "kchaos_sendmsg4", "kchaos_sendmsg6"]
            }
        }
    }

    /// Its name in JSON.
    pub const fn id(self) -> &'static str {
        match self {
            Self::TcEgress => "tc_egress",
            Self::CgroupIngress => "cgroup_ingress",
            Self::CgroupConnect => "cgroup_connect",
        }
    }

    /// What users can do with it.
    pub const fn serves(self) -> &'static str {
        match self {
            Self::TcEgress => "drop, direction egress",
            Self::CgroupIngress => "drop, direction ingress",
            Self::CgroupConnect => "connect, TCP and UDP",
        }
    }

    /// What to do where it is missing.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::TcEgress => "needs Linux 6.6 or later with CONFIG_NET_XGRESS",
            Self::CgroupIngress => "needs Linux 5.8 or later with CONFIG_CGROUP_BPF and cgroup v2",
            Self::CgroupConnect => "needs Linux 5.18 or later with CONFIG_CGROUP_BPF and cgroup v2",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcEgress => "tcx egress",
            Self::CgroupIngress => "cgroup ingress",
            Self::CgroupConnect => "cgroup connect",
        })
    }
}

/// Tries the feature out where it can harm no one: in an empty cgroup, in a network namespace of its own. Must be called
/// on a thread that ends afterwards, as it leaves its namespace.
pub fn probe(feature: Feature) -> Result<(), BpfError> {
    let mut object = Object::load(&[feature])?;
    match feature {
        Feature::TcEgress => {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| BpfError::Io {
                what: "making a network namespace to try it in (needs CAP_SYS_ADMIN)".into(),
                error: e.into(),
            })?;
            object.attach_devices(&["lo".to_owned()])
        }
        Feature::CgroupIngress | Feature::CgroupConnect => {
            let own = OwnCgroup::create_for(&Hierarchy::find()?, feature.id())?;
            object.attach_cgroup(&own.cgroup()?.dir)
        }
    }
}
