//! The way of one packet: whose it is, what it is, which rule hits it.

use chaos_common::{
    counters::Skip,
    rule::{action, hook},
};

use super::{
    judge::{self, Subject, Verdict},
    kern::Skb,
    parse, select,
};
use crate::fault;

/// A packet on its way out: the program's answer if it is hit.
#[inline(always)]
pub fn egress(skb: &Skb) -> Option<i32> {
    let scope = judge::scope()?;
    // A packet that came in from elsewhere and is only passed on belongs to whoever made it: it was judged there.
    if skb.ingress_ifindex() != 0 || skb.ancestor_cgroup(scope.cgroup_level) != scope.cgroup_id {
        return None;
    }
    let tag = skb.tag();
    if tag & scope.tag != 0 {
        return None;
    }
    let headers = parse::headers(skb)?;
    let fit = select::of_packet(scope, headers.destination, headers.ports, true);
    if fit.matching == 0 {
        return None;
    }
    // Only what is judged is marked: a packet that no rule names stays as it came.
    skb.set_tag(tag | scope.tag);
    let subject = Subject { fit, protocol: headers.protocol, hook: hook::EGRESS, cgroup: skb.cgroup() };
    let verdict = judge::judge(scope, &subject)?;
    hit(skb, &verdict, fault::drop::egress)
}

/// A packet that has arrived at a socket of the target: the program's answer if it is hit.
#[inline(always)]
pub fn ingress(skb: &Skb) -> Option<i32> {
    let scope = judge::scope()?;
    let headers = parse::headers(skb)?;
    let fit = select::of_packet(scope, headers.source, headers.ports, false);
    if fit.matching == 0 {
        return None;
    }
    let subject = Subject { fit, protocol: headers.protocol, hook: hook::INGRESS, cgroup: skb.cgroup() };
    let verdict = judge::judge(scope, &subject)?;
    hit(skb, &verdict, fault::drop::ingress)
}

/// Applies the rule's effect and counts it.
#[inline(always)]
fn hit(skb: &Skb, verdict: &Verdict, drop: impl FnOnce() -> i32) -> Option<i32> {
    if verdict.rule.action != action::DROP {
        verdict.skipped(Skip::Failed);
        return None;
    }
    verdict.injected(skb);
    Some(drop())
}
