//! What a kernel must be able to do for a fault, and the ways to do it. Which way works is found out by doing it,
//! never by a version number.

use std::fmt;

use chaos_common::line;

use super::call::{Call, Way};

/// One way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// tc programs on egress: tcx links (Linux 6.6), before that filters on a clsact qdisc.
    TcEgress,
    /// tc programs on ingress, by the same two ways.
    TcIngress,
    /// `cgroup_skb` ingress programs with BPF links and the boot clock (5.8).
    CgroupIngress,
    /// `cgroup_sock_addr` programs: with return values of their own (5.18), before that EPERM.
    CgroupConnect,
    /// A device where packets wait: in the kernel under `sch_fq`, or in this process behind a TAP device.
    DelayLine,
    /// Programs in the kernel's own functions that make this call fail.
    Call(Call),
}

/// How well a feature works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// By a second-best way; [`Feature::reduced`] says what is lost.
    Reduced,
    /// As it should.
    Full,
}

/// A feature, and how well it must work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Which.
    pub feature: Feature,
    /// At least.
    pub level: Level,
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Every device of the target's network namespaces.
    Devices,
    /// The target's cgroup.
    Cgroup,
    /// Devices of our own, in the target's network namespaces.
    Line,
    /// Functions of the kernel's.
    Kernel,
}

/// The second-best way.
#[derive(Clone, Copy, Debug)]
pub struct Reduced {
    /// Its name.
    pub way: &'static str,
    /// What is lost by it.
    pub loss: &'static str,
    /// What to do when that is not enough.
    pub remedy: &'static str,
}

const CLSACT: Reduced = Reduced {
    way: "clsact",
    loss: "a kchaos that was killed (SIGKILL) leaves its filters: they let everything pass once its lease of 2 s has \
           run out, and the next start or `kchaos clean` removes them",
    remedy: "Linux 6.6 or later with CONFIG_NET_XGRESS has tcx, which leaves nothing",
};

const EPERM_ONLY: Reduced = Reduced {
    way: "EPERM only",
    loss: "a call can fail with EPERM only, and one that another program denies at the same time counts as injected",
    remedy: "write errno = \"EPERM\", or use Linux 5.18 or later for any errno",
};

const TAP: Reduced = Reduced {
    way: "tap",
    loss: "packets wait in kchaos itself, behind a TAP device: up to some milliseconds late on a busy host, and those that \
           wait are lost when kchaos is killed, or stopped for more than two seconds",
    remedy: "a kernel with sch_fq (CONFIG_NET_SCH_FQ) keeps them itself, for a kchaos with CAP_SYS_ADMIN",
};

impl Feature {
    /// Those for packets and connections.
    pub const ALL: [Self; 5] =
        [Self::TcEgress, Self::TcIngress, Self::CgroupIngress, Self::CgroupConnect, Self::DelayLine];

    /// All of them: these, and one for each call.
    pub fn every() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Call::ALL.iter().copied().map(Self::Call))
    }

    /// The programs it takes.
    pub const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::TcEgress => &["kchaos_egress"],
            Self::TcIngress => &["kchaos_arrival"],
            Self::CgroupIngress => &["kchaos_ingress"],
            Self::CgroupConnect => {
                &["kchaos_connect4", "kchaos_connect6", "kchaos_sendmsg4", "kchaos_sendmsg6"]
            }
            Self::DelayLine => &[line::WAIT, line::BACK, line::EXIT],
            // Brought there one by one: [`super::call`].
            Self::Call(_) => &[],
        }
    }

    /// Where they go.
    pub const fn place(self) -> Place {
        match self {
            Self::TcEgress | Self::TcIngress => Place::Devices,
            Self::CgroupIngress | Self::CgroupConnect => Place::Cgroup,
            Self::DelayLine => Place::Line,
            Self::Call(_) => Place::Kernel,
        }
    }

    /// Its name in JSON.
    pub const fn id(self) -> &'static str {
        match self {
            Self::TcEgress => "tc_egress",
            Self::TcIngress => "tc_ingress",
            Self::CgroupIngress => "cgroup_ingress",
            Self::CgroupConnect => "cgroup_connect",
            Self::DelayLine => "delay_line",
            Self::Call(call) => call.id(),
        }
    }

    /// What users can do with it.
    pub const fn serves(self) -> &'static str {
        match self {
            Self::TcEgress => "all kinds for packets, direction egress",
            Self::TcIngress => {
                "all kinds for packets, direction ingress; drop, and partition by drop, only in a network namespace"
            }
            Self::CgroupIngress => "drop, and partition by drop, direction ingress",
            Self::CgroupConnect => "connect, TCP and UDP",
            Self::DelayLine => "delay, rate and reorder; duplicate, direction ingress",
            Self::Call(call) => call.serves(),
        }
    }

    /// The way it should be done.
    pub const fn way(self) -> &'static str {
        match self {
            Self::TcEgress | Self::TcIngress => "tcx",
            Self::CgroupIngress => "cgroup_skb",
            Self::CgroupConnect => "any errno",
            Self::DelayLine => "sch_fq",
            Self::Call(_) => Way::Question.name(),
        }
    }

    /// The second-best way, where there is one.
    pub const fn reduced(self) -> Option<Reduced> {
        match self {
            Self::TcEgress | Self::TcIngress => Some(CLSACT),
            Self::CgroupIngress | Self::Call(_) => None,
            Self::CgroupConnect => Some(EPERM_ONLY),
            Self::DelayLine => Some(TAP),
        }
    }

    /// What to do where no way works.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::TcEgress | Self::TcIngress => {
                "needs Linux 6.6 or later with CONFIG_NET_XGRESS, or CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF"
            }
            Self::CgroupIngress => "needs Linux 5.8 or later with CONFIG_CGROUP_BPF and cgroup v2",
            Self::CgroupConnect => {
                "needs Linux 5.8 or later with CONFIG_CGROUP_BPF and cgroup v2; 5.18 or later for another errno than EPERM"
            }
            Self::DelayLine => {
                "needs CONFIG_VETH and CONFIG_NET_SCH_FQ, or CONFIG_TUN and /dev/net/tun, and the right to make devices \
                 (CAP_NET_ADMIN) in the target's network namespaces"
            }
            Self::Call(Call::Fsync | Call::Close | Call::Poll) => {
                "needs a kernel with CONFIG_DEBUG_INFO_BTF that lets programs into its system calls: Linux 7.1, or \
                 CONFIG_FUNCTION_ERROR_INJECTION"
            }
            Self::Call(_) => {
                "needs a kernel with CONFIG_DEBUG_INFO_BTF that lets programs into its own functions (fmod_ret or BPF LSM)"
            }
        }
    }

    /// Needed, by whatever way.
    pub const fn any_way(self) -> Need {
        Need { feature: self, level: Level::Reduced }
    }

    /// Needed as it should be.
    pub const fn in_full(self) -> Need {
        Need { feature: self, level: Level::Full }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TcEgress => "tc egress",
            Self::TcIngress => "tc ingress",
            Self::CgroupIngress => "cgroup ingress",
            Self::CgroupConnect => "cgroup connect",
            Self::DelayLine => "delay line",
            Self::Call(call) => return write!(f, "call {call}"),
        })
    }
}

/// Whether a way is to be used although a better one may work: for trying out on a new kernel what an old one would do.
/// `KCHAOS_TEST_WAYS` names ways, separated by commas: "clsact", "eperm", "tap", "lsm".
pub(super) fn forced(feature: Feature) -> bool {
    let name = match feature {
        Feature::TcEgress | Feature::TcIngress => "clsact",
        Feature::CgroupConnect => "eperm",
        Feature::DelayLine => "tap",
        Feature::CgroupIngress | Feature::Call(_) => return false,
    };
    is_forced(name)
}

/// Whether a way for calls is to be tried: the first, unless the tests ask for the second ("lsm").
pub(super) fn is_tried(way: Way) -> bool {
    way != Way::Question || !is_forced("lsm")
}

fn is_forced(name: &str) -> bool {
    std::env::var("KCHAOS_TEST_WAYS").is_ok_and(|ways| ways.split(',').any(|way| way == name))
}
