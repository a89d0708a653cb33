//! The scope: whose packets and calls the programs look at, one per experiment.

use crate::ClauseBits;

/// [`Scope::flags`]: the protected table must be asked.
pub const FLAG_PROTECTED_CGROUPS: u32 = 1 << 0;

/// What the programs of one experiment need to know before they look at rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Scope {
    /// Id of the target's cgroup in the v2 hierarchy (its directory's inode number).
    pub cgroup_id: u64,
    /// Depth of that cgroup; the root is 0.
    pub cgroup_level: u32,
    /// How many entries of the rule table are in use.
    pub rules: u32,
    /// Clauses without any port condition: all that can match a packet without ports (ICMP, a later fragment).
    pub portless: ClauseBits,
    /// Clauses that name protected far ends and ports: a match forbids injection.
    pub protected: ClauseBits,
    /// The bit of `skb->tc_index` that marks a packet as judged by this experiment. A packet passes several devices on
    /// its way out (bridge, bond, VLAN, tunnel) and must be judged once.
    pub tag: u32,
    /// Bits of `FLAG_*`.
    pub flags: u32,
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Scope {}
