//! The decision: which rule, if any, hits this packet or call. Rules are asked in file order, each with a draw of its
//! own; the first that hits ends it.
//!
//! This is where the time box is enforced. Every rule that matches passes deadline, window, lease and protection
//! *before* its draw, and is counted whatever comes out.

use aya_ebpf::EbpfContext;
use chaos_common::{
    MAX_RULES, clause_mask, control,
    counters::{Counters, Skip},
    draw,
    rule::{FLAG_SHADOW, PROTOCOL_ANY, Rule},
    scope::{self, Scope},
    window::{self, Phase},
};

use super::{count, kern, log, select::Fit};
use crate::maps::{KCHAOS_CONTROL, KCHAOS_COUNTERS, KCHAOS_PROTECT, KCHAOS_RULES, KCHAOS_SCOPE};

/// A rule that said "hit", and where its counters are.
pub struct Verdict {
    /// The rule.
    pub rule: &'static Rule,
    index: u32,
    counters: *mut Counters,
}

impl Verdict {
    /// The effect took place.
    #[inline(always)]
    pub fn injected(&self, ctx: &impl EbpfContext) {
        count::injected(self.counters);
        log::injected(ctx, self.index);
    }

    /// The effect could not take place.
    #[inline(always)]
    pub fn skipped(&self, why: Skip) {
        count::skipped(self.counters, why);
    }
}

/// What was found out about a packet or call.
pub struct Subject {
    /// Clauses that it fits.
    pub fit: Fit,
    /// Its IP protocol number.
    pub protocol: u8,
    /// The hook it is at: one bit of `chaos_common::rule::hook`.
    pub hook: u32,
    /// Id of the cgroup it belongs to.
    pub cgroup: u64,
}

/// The scope of the experiment; `None` until user space has filled it.
#[inline(always)]
pub fn scope() -> Option<&'static Scope> {
    KCHAOS_SCOPE.get(0).filter(|s| s.rules > 0)
}

/// The first rule that hits `subject`. Its verdict must be counted by the caller, once the effect is known.
#[inline(always)]
pub fn judge(scope: &Scope, subject: &Subject) -> Option<Verdict> {
    let now = kern::boot_ns();
    let barrier = barrier(scope, subject, now);
    for i in 0..MAX_RULES as u32 {
        if i >= scope.rules {
            break;
        }
        let rule = KCHAOS_RULES.get(i)?;
        if !matches(rule, subject) {
            continue;
        }
        let counters = KCHAOS_COUNTERS.get_ptr_mut(i)?;
        let seen = count::matched(counters);
        match decide(rule, barrier, seen, now) {
            None => return Some(Verdict { rule, index: i, counters }),
            Some(Skip::Shadow) => {
                // It would have been hit, and that would have been the end of it.
                count::skipped(counters, Skip::Shadow);
                return None;
            }
            Some(why) => count::skipped(counters, why),
        }
    }
    None
}

#[inline(always)]
fn matches(rule: &Rule, subject: &Subject) -> bool {
    rule.hooks & subject.hook != 0
        && rule.clauses & subject.fit.matching != 0
        && rule.exclude & subject.fit.excluding == 0
        && (rule.protocol == PROTOCOL_ANY || rule.protocol == u32::from(subject.protocol))
}

/// What forbids injection whatever the rule: no lease, or a protected subject.
#[inline(always)]
fn barrier(scope: &Scope, subject: &Subject, now: u64) -> Option<Skip> {
    let lease = KCHAOS_CONTROL.get(control::SLOT_LEASE).copied().unwrap_or(0);
    let halt = KCHAOS_CONTROL.get(control::SLOT_HALT).copied().unwrap_or(1);
    if !control::armed(now, lease, halt) {
        return Some(Skip::Lease);
    }
    if clause_mask(scope.protected) & subject.fit.matching != 0 {
        return Some(Skip::Protected);
    }
    if scope.flags & scope::FLAG_PROTECTED_CGROUPS != 0 {
        // SAFETY: the value is not used, only whether there is one.
        if unsafe { KCHAOS_PROTECT.get(subject.cgroup) }.is_some() {
            return Some(Skip::Protected);
        }
    }
    None
}

/// `None`: hit it.
#[inline(always)]
fn decide(rule: &Rule, barrier: Option<Skip>, seen: u64, now: u64) -> Option<Skip> {
    match window::phase(rule, now) {
        Phase::Over => return Some(Skip::Deadline),
        Phase::Off => return Some(Skip::Window),
        Phase::On => {}
    }
    if barrier.is_some() {
        return barrier;
    }
    if !draw::hit(rule.seed, draw::ordinal(kern::cpu(), seen), rule.threshold) {
        return Some(Skip::Probability);
    }
    if rule.flags & FLAG_SHADOW != 0 { Some(Skip::Shadow) } else { None }
}
