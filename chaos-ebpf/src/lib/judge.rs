//! The decision: which rules, if any, hit this packet or call. Rules are asked in file order, each with a draw of its
//! own, up to the first that hits and ends the matter; those that leave a packet on its way are noted ([`plan`]).
//!
//! This is where the time box is enforced. Every rule that matches passes deadline, window, lease and protection
//! *before* its draw, and is counted whatever comes out.

use aya_ebpf::EbpfContext;
use chaos_common::{
    control,
    counters::{Counters, Skip},
    draw, flow, reset,
    rule::{FLAG_FLOWS, FLAG_NEW_ONLY, FLAG_SHADOW, Rule, action},
    scope::{self, Scope},
    table::{MAX_CLAUSES, WORD_BITS},
    uses,
    window::{self, Phase},
};

use super::{
    count, draw as dice, kern, log, plan,
    select::{self, Fit, Found},
};
use crate::maps::{KCHAOS_CONTROL, KCHAOS_COUNTERS, KCHAOS_PROTECT, KCHAOS_RULES, KCHAOS_SCOPE};

/// A rule that said "hit", and where its counters are.
pub struct Verdict {
    /// The rule.
    pub rule: &'static Rule,
    counters: *mut Counters,
}

impl Verdict {
    /// The effect took place.
    #[inline(always)]
    pub fn injected(&self, ctx: &impl EbpfContext) {
        count::injected(self.counters);
        log::injected(ctx, self.rule.counters);
    }

    /// The same where there is no context to log with.
    #[inline(always)]
    pub fn injected_unseen(&self) {
        count::injected(self.counters);
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
    pub found: Found,
    /// Id of the cgroup it belongs to; [`UNATTRIBUTED`] if nobody can say.
    pub cgroup: u64,
    /// Of a packet, its connection, if a rule asks for it; of a call, the facts that hold for it
    /// ([`chaos_common::call`]).
    pub of: u64,
    /// Whether that has begun while the experiment ran.
    pub new: bool,
    /// Whether the packet ends it by itself: a reset. Known only if a rule asks.
    pub ends: bool,
}

/// The cgroup of a packet that belongs to no socket.
pub const UNATTRIBUTED: u64 = 0;

/// The scope of the experiment; `None` until user space has filled it.
#[inline(always)]
pub fn scope() -> Option<&'static Scope> {
    KCHAOS_SCOPE.get(0).filter(|s| s.rules > 0)
}

/// What became of a subject.
pub struct Judgement(u32);

impl Judgement {
    /// Whether any rule was asked.
    #[inline(always)]
    pub const fn was_asked(&self) -> bool {
        self.0 != 0
    }

    /// The first rule that hits. Its verdict must be counted by the caller, once the effect is known.
    #[inline(always)]
    pub fn verdict(&self) -> Option<Verdict> {
        let rule = KCHAOS_RULES.get((self.0 & RULE).checked_sub(1)?)?;
        let counters = KCHAOS_COUNTERS.get_ptr_mut(rule.counters)?;
        Some(Verdict { rule, counters })
    }
}

/// Asks the rules that `subject` fits.
#[inline(always)]
pub fn judge(subject: &Subject) -> Judgement {
    let new = if subject.new { NEW } else { 0 };
    let ends = if subject.ends { ENDS } else { 0 };
    let Found { rows, how, words } = subject.found;
    Judgement(kchaos_judge(rows, how | new | ends, words, subject.cgroup, subject.of))
}

/// Beside what [`Found::how`] says: the connection has begun while the experiment ran.
const NEW: u32 = select::CALLERS_BITS[0];
/// Likewise: the packet ends it.
const ENDS: u32 = select::CALLERS_BITS[1];
/// Likewise, eight bits: the word of clauses to look at.
const WORD_SHIFT: u32 = 8;
/// Likewise, eight bits: what [`barrier`] says.
const BARRIER_SHIFT: u32 = 16;

/// An answer: one more than the number of the rule that hits. Answers are put together by arithmetic and not by
/// branches, of which old verifiers would follow every combination.
const RULE: u32 = 0xffff;
/// In an answer: a rule was asked.
const ASKED: u32 = 1 << 16;
/// In an answer: no later rule is asked.
const LAST: u32 = 1 << 17;

/// The answer of all rules. A global function (see [`super`]), like those below.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_judge(rows: u64, how: u32, words: u64, cgroup: u64, of: u64) -> u32 {
    let Some(scope) = scope() else { return 0 };
    let Some(fit) = Fit::of(rows, how) else { return 0 };
    let now = kern::boot_ns();
    let how = how | barrier(scope, &fit, cgroup, now) << BARRIER_SHIFT;
    let (mut words, mut answer) = (words, 0);
    // The bound is looked at last, here and below: Linux 5.10 takes a loop only if a jump closes it.
    let (mut rounds, most) = (0, kern::words());
    loop {
        let number = kern::lowest_bit(words) & 0xff;
        let said = kchaos_word(rows, how | number << WORD_SHIFT, now, of);
        answer = kern::forgotten((answer | said).into(), fit.summary) as u32;
        if said & LAST != 0 {
            return answer;
        }
        words = kern::forgotten(words & words.wrapping_sub(1), fit.summary);
        rounds += 1;
        if words == 0 || rounds >= most {
            return answer;
        }
    }
}

/// Asks the rules of one word of clauses, lowest bit first, which is file order: their answer.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_word(rows: u64, how: u32, now: u64, of: u64) -> u32 {
    let number = (how >> WORD_SHIFT) & 0xff;
    let Some(fit) = Fit::of(rows, how) else { return 0 };
    let (mut matching, excluding) = fit.word(number);
    let (mut rounds, mut answer, most) = (0, 0, kern::rules());
    loop {
        if matching == 0 {
            return answer;
        }
        let clause = number as usize * WORD_BITS + kern::lowest_bit(matching) as usize;
        let index = u32::from(fit.fields.rule_of[clause % MAX_CLAUSES]);
        let Some(rule) = KCHAOS_RULES.get(index) else { return answer };
        matching = kern::forgotten(matching & !rule.clauses & (matching - 1), fit.summary);
        let said = kchaos_ask(index, now, how, of, excluding);
        answer = kern::forgotten((answer | said).into(), fit.summary) as u32;
        if said & LAST != 0 {
            return answer;
        }
        rounds += 1;
        if rounds >= most {
            return answer;
        }
    }
}

/// What forbids injection whatever the rule.
const NO_BARRIER: u32 = 0;
/// Nobody knows whose it is: counted apart from everything else.
const NOBODYS: u32 = 0xff;

/// [`NO_BARRIER`], [`NOBODYS`], or one more than the number of a [`Skip`].
#[inline(always)]
fn barrier(scope: &Scope, fit: &Fit, cgroup: u64, now: u64) -> u32 {
    if cgroup == UNATTRIBUTED {
        return NOBODYS;
    }
    forbidden(scope, fit, cgroup, now).map_or(NO_BARRIER, |why| why as u32 + 1)
}

/// Whether the engine allows injection at `now`, by `CLOCK_BOOTTIME` in ns.
#[inline(always)]
pub fn armed(now: u64) -> bool {
    let lease = KCHAOS_CONTROL.get(control::SLOT_LEASE).copied().unwrap_or(0);
    let halt = KCHAOS_CONTROL.get(control::SLOT_HALT).copied().unwrap_or(1);
    control::armed(now, lease, halt)
}

/// No lease, or a protected subject.
#[inline(always)]
fn forbidden(scope: &Scope, fit: &Fit, cgroup: u64, now: u64) -> Option<Skip> {
    if !armed(now) {
        return Some(Skip::Lease);
    }
    if fit.protected() {
        return Some(Skip::Protected);
    }
    if scope.flags & scope::FLAG_PROTECTED_CGROUPS != 0 {
        // SAFETY: the value is not used, only whether there is one.
        if unsafe { KCHAOS_PROTECT.get(cgroup) }.is_some() {
            return Some(Skip::Protected);
        }
    }
    None
}

/// Whether the connection has not come to the point yet after which the rule cuts it.
#[inline(always)]
fn is_early(rule: &Rule, now: u64) -> bool {
    if !kern::uses(uses::LIFE) || rule.action != action::RESET || !reset::looks_at_life(&rule.numbers) {
        return false;
    }
    let (carried, fresh, age) = plan::life(now);
    !reset::is_due(&rule.numbers, carried, fresh, age)
}

/// Why a rule does not hit a match: one more than the number of a [`Skip`], or 0.
#[inline(always)]
fn spared(rule: &Rule, now: u64, how: u32, flow: u64, ordinal: u64) -> u32 {
    let barrier = how >> BARRIER_SHIFT & 0xff;
    match window::phase(rule, now) {
        Phase::Over => Skip::Deadline as u32 + 1,
        Phase::Off => Skip::Window as u32 + 1,
        Phase::On if barrier != NO_BARRIER => barrier,
        Phase::On => {
            if kern::uses(uses::FLOWS) && rule.flags & FLAG_NEW_ONLY != 0 && how & NEW == 0 {
                Skip::OldFlow as u32 + 1
            } else if kern::uses(uses::FLOWS)
                && rule.flags & FLAG_FLOWS != 0
                && (flow == flow::UNKNOWN || !draw::hit(rule.seed, flow, rule.flows))
            {
                Skip::Flow as u32 + 1
            } else if is_early(rule, now) {
                Skip::Early as u32 + 1
            } else if !dice::hits(rule, ordinal, flow) {
                Skip::Probability as u32 + 1
            } else if kern::uses(uses::LIMITS) && rule.limit != 0 && !dice::is_within(rule) {
                Skip::Limit as u32 + 1
            } else if rule.flags & FLAG_SHADOW != 0 {
                Skip::Shadow as u32 + 1
            } else {
                0
            }
        }
    }
}

/// Asks one rule, unless one of its clauses is among those that exclude; counts what it says unless it hits.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_ask(index: u32, now: u64, how: u32, of: u64, excluding: u64) -> u32 {
    let Some(rule) = KCHAOS_RULES.get(index) else { return 0 };
    if rule.exclude & excluding != 0 || rule.facts & !of != 0 {
        return 0;
    }
    if rule.action == action::RESET && how & ENDS != 0 {
        return 0;
    }
    let Some(counters) = KCHAOS_COUNTERS.get_ptr_mut(rule.counters) else { return 0 };
    let barrier = how >> BARRIER_SHIFT & 0xff;
    if barrier == NOBODYS {
        count::unattributed(counters);
        return ASKED;
    }
    let seen = count::matched(counters);
    let ordinal = draw::ordinal(kern::cpu(), seen);
    let goes_on =
        kern::uses(action::LEAVES_ON_ITS_WAY) && action::is_one_of(rule.action, action::LEAVES_ON_ITS_WAY);
    let why = spared(rule, now, how, of, ordinal);
    if why == 0 {
        if !goes_on {
            return ASKED | LAST | (index + 1);
        }
        if !plan::note(index, ordinal) {
            count::skipped(counters, Skip::Failed);
        }
        return ASKED;
    }
    count::skipped_number(counters, why - 1);
    if goes_on && why == Skip::Probability as u32 + 1 && action::is_one_of(rule.action, action::KEEPS_ORDER) {
        plan::follow();
    }
    if why == Skip::Shadow as u32 + 1 && !goes_on { ASKED | LAST } else { ASKED }
}
