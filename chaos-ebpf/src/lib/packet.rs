//! The way of one packet: whose it is, what it is, which rules hit it, what becomes of it.

use chaos_common::{
    counters::Skip,
    line::{WAY_IN, is_line},
    rule::{Rule, action, hook},
    scope::FLAG_NAMESPACES,
};

use super::{
    act, flow,
    headers::Headers,
    judge::{self, Judgement, Subject},
    kern, life, parse, plan,
    receiver::{self, Receiver},
    reply::outcome,
    select, service,
    skb::Skb,
    target,
    what::What,
};
use crate::fault;

/// A packet on its way out: the program's answer if it is hit.
#[inline(always)]
pub fn egress(skb: &Skb) -> Option<i32> {
    let scope = judge::scope()?;
    // A packet that came in from elsewhere and is only passed on belongs to whoever made it: it was judged there. One that
    // comes out of another experiment's line was made here, and nobody can say any more by whom.
    let from = skb.ingress_ifindex();
    if from != 0 && !is_line(from) {
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
    let what = What::new(0, &flow, transport);
    let own = select::rows_of(scope, hook::EGRESS, &destination, transport, true)?;
    plan::clear();
    let found = service::or_of_service(skb, transport, own)?;
    life::note(scope, skb, flow.id, what);
    let judged = judge::judge(&Subject { found, cgroup, of: flow.id, new: flow.new, ends: flow.ends });
    // A packet that no rule fits stays as it came.
    if judged.was_asked() {
        skb.set_tag(tag | scope.tag);
    }
    carry_out(skb, &judged, flow.id, what, fault::drop::egress)
}

/// A packet that arrives at a device, and is for the target: the program's answer if it is hit.
#[inline(always)]
pub fn arrival(skb: &Skb) -> Option<i32> {
    let scope = judge::scope()?;
    let tag = skb.tag();
    if tag & scope.arrival_tag != 0 {
        return None;
    }
    let headers = parse::headers(skb)?;
    let flow = flow::of_packet(scope, skb, &headers);
    let what = What::new(WAY_IN, &flow, headers.transport);
    let found = select::of_packet(scope, hook::ARRIVAL, &headers.source, headers.transport, false)?;
    let of_namespace = scope.flags & FLAG_NAMESPACES != 0;
    // Where nothing can be done to a packet, it is not looked whose it is.
    if !of_namespace && !judge::armed(kern::boot_ns()) {
        return None;
    }
    let receiver = if of_namespace { Receiver::Unknown } else { receiver::find(skb, headers.transport) };
    let cgroup = match receiver {
        Receiver::None => return None,
        Receiver::Unknown if of_namespace => Some(target::NAMESPACE),
        Receiver::Unknown => Some(judge::UNATTRIBUTED),
        Receiver::Found => target::of_packet(scope, skb),
    };
    let Some(cgroup) = cgroup else { return without_socket(skb, tag | scope.arrival_tag) };
    plan::clear();
    life::note(scope, skb, flow.id, what);
    let judged = judge::judge(&Subject { found, cgroup, of: flow.id, new: flow.new, ends: flow.ends });
    if judged.was_asked() && scope.arrival_tag != 0 {
        skb.set_tag(tag | scope.arrival_tag);
    }
    let answer = carry_out(skb, &judged, flow.id, what, fault::drop::arrival);
    if answer.is_none() && receiver == Receiver::Found {
        return without_socket(skb, skb.tag() | scope.arrival_tag);
    }
    answer
}

/// Lets a packet go on that was given the socket of its receiver, only to see whose it is. With a socket it would not be
/// forwarded, should it turn out to be for elsewhere; a copy has none. (What arrives on lo stays on this host.)
#[inline(always)]
fn without_socket(skb: &Skb, tag: u32) -> Option<i32> {
    if skb.device() == act::LO {
        return None;
    }
    skb.set_tag(tag);
    if skb.send_copy(true) { Some(fault::drop::arrival()) } else { None }
}

/// A packet that has arrived at a socket of the target: the program's answer if it is hit. Nothing can be done to it
/// here but to let it pass or not.
#[inline(always)]
pub fn ingress(skb: &Skb) -> Option<i32> {
    let scope = judge::scope()?;
    let headers = parse::headers(skb)?;
    let flow = flow::of_packet(scope, skb, &headers);
    let Headers { source, transport, .. } = headers;
    let found = select::of_packet(scope, hook::INGRESS, &source, transport, false)?;
    let subject = Subject { found, cgroup: skb.cgroup(), of: flow.id, new: flow.new, ends: false };
    drop_it(skb, &judge::judge(&subject), fault::drop::ingress)
}

/// Carries out what was decided at a device: the packet is lost, or what was noted is done to it.
#[inline(always)]
fn carry_out(skb: &Skb, judged: &Judgement, flow: u64, what: What, lose: impl Fn() -> i32) -> Option<i32> {
    if let Some(verdict) = judged.verdict() {
        match end(skb, verdict.rule, what) {
            outcome::DONE => verdict.injected(skb),
            outcome::UNTOUCHED => {
                verdict.skipped(Skip::Failed);
                return act::act(skb, flow, what, &lose);
            }
            _ => verdict.skipped(Skip::Failed),
        }
        plan::settle_lost();
        return Some(lose());
    }
    act::act(skb, flow, what, &lose)
}

/// Does what comes before the packet is lost: one of [`outcome`].
#[inline(always)]
fn end(skb: &Skb, rule: &Rule, what: What) -> u32 {
    match rule.action {
        action::DROP => outcome::DONE,
        // What the kernel has noted about the translation of addresses stays on a packet that goes round on lo, and an
        // answer would be taken for one more packet of the same way.
        _ if kern::uses(action::ANSWERS) && skb.device() == act::LO && act::has_no_sender(skb, what) => {
            outcome::UNTOUCHED
        }
        action::REJECT if kern::uses(1 << action::REJECT) => fault::reject::answer(skb, rule, what),
        action::RESET if kern::uses(1 << action::RESET) => {
            fault::reset::kchaos_cut(skb.context(), what.number())
        }
        _ => outcome::UNTOUCHED,
    }
}

/// Loses the packet if the rule that hits says so, and counts it.
#[inline(always)]
fn drop_it(skb: &Skb, judged: &Judgement, lose: impl FnOnce() -> i32) -> Option<i32> {
    let verdict = judged.verdict()?;
    if verdict.rule.action != action::DROP {
        verdict.skipped(Skip::Failed);
        return None;
    }
    verdict.injected(skb);
    Some(lose())
}
