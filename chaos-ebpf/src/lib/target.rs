//! Whether a packet on its way out is the target's. (Programs that sit on the target's own cgroups need not ask.)

use aya_ebpf::bindings::bpf_sock_addr;
use chaos_common::scope::{FLAG_NAMESPACES, MAX_DEPTHS, Scope};

use super::{judge::UNATTRIBUTED, kern, skb::Skb};
use crate::maps::{KCHAOS_NETNS, KCHAOS_TARGETS};

/// The cgroup of what belongs to a network namespace and not to anyone in it: none has this id.
pub const NAMESPACE: u64 = u64::MAX;

/// Id of the root of the cgroup hierarchy. What the kernel sends on its own account (resets, acknowledgements of closed
/// connections) goes through sockets of its own, which are in no cgroup or in the root.
const ROOT: u64 = 1;

/// The cgroup of a packet of the target, or [`UNATTRIBUTED`]; `None` if it is somebody else's.
#[inline(always)]
pub fn of_packet(scope: &Scope, skb: &Skb) -> Option<u64> {
    let mut depths = scope.depths;
    let mut found = 0;
    for _ in 0..MAX_DEPTHS {
        if depths == 0 {
            break;
        }
        found = skb.ancestor_cgroup(kern::lowest_bit(depths));
        // SAFETY: the value is not used, only whether there is one.
        if unsafe { KCHAOS_TARGETS.get(found) }.is_some() {
            return Some(skb.cgroup());
        }
        depths &= depths - 1;
    }
    // Someone else has an ancestor at the depth of the target, most often: only the others are looked at again.
    if found != 0 || skb.cgroup() > ROOT {
        return None;
    }
    // In a namespace that is the target as a whole, the kernel's own packets are part of it.
    Some(if scope.flags & FLAG_NAMESPACES == 0 { UNATTRIBUTED } else { NAMESPACE })
}

/// Whether a call of a process below our cgroups is the target's: not if that is a network namespace and it is made in
/// another one.
#[inline(always)]
pub fn includes_call(scope: &Scope, ctx: *mut bpf_sock_addr) -> bool {
    // SAFETY: the value is not used, only whether there is one.
    scope.flags & FLAG_NAMESPACES == 0 || unsafe { KCHAOS_NETNS.get(kern::netns_cookie(ctx)) }.is_some()
}
