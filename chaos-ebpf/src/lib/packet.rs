//! The way of one packet: whose it is, what it is, which rule hits it.

use chaos_common::{
    counters::Skip,
    rule::{action, hook},
};

use super::{
    flow,
    judge::{self, Subject, Verdict},
    kern::Skb,
    parse::{self, Headers},
    select, target,
};
use crate::fault;

/// A packet on its way out: the program's answer if it is hit.
#[inline(always)]
pub fn egress(skb: &Skb) -> Option<i32> {
    let scope = judge::scope()?;
    // A packet that came in from elsewhere and is only passed on belongs to whoever made it: it was judged there.
    if skb.ingress_ifindex() != 0 {
        return None;
    }
    let cgroup = target::of_packet(scope, skb)?;
    let tag = skb.tag();
    if tag & scope.tag != 0 {
        return None;
    }
    let headers = parse::headers(skb)?;
    let flow = flow::of_packet(scope, skb, &headers);
    let Headers { destination, transport, .. } = headers;
    let found = select::of_packet(scope, hook::EGRESS, &destination, transport, true)?;
    let judged = judge::judge(&Subject { found, cgroup, flow: flow.id, new: flow.new });
    // A packet that no rule fits stays as it came.
    if judged.was_asked() {
        skb.set_tag(tag | scope.tag);
    }
    hit(skb, &judged.verdict()?, fault::drop::egress)
}

/// A packet that has arrived at a socket of the target: the program's answer if it is hit.
#[inline(always)]
pub fn ingress(skb: &Skb) -> Option<i32> {
    received(skb, skb.cgroup(), fault::drop::ingress)
}

/// A packet that arrives in a network namespace that is the target as a whole: the program's answer if it is hit.
#[inline(always)]
pub fn arrival(skb: &Skb) -> Option<i32> {
    received(skb, target::NAMESPACE, fault::drop::arrival)
}

#[inline(always)]
fn received(skb: &Skb, cgroup: u64, drop: impl FnOnce() -> i32) -> Option<i32> {
    let scope = judge::scope()?;
    let headers = parse::headers(skb)?;
    let flow = flow::of_packet(scope, skb, &headers);
    let Headers { source, transport, .. } = headers;
    let found = select::of_packet(scope, hook::INGRESS, &source, transport, false)?;
    let subject = Subject { found, cgroup, flow: flow.id, new: flow.new };
    hit(skb, &judge::judge(&subject).verdict()?, drop)
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
