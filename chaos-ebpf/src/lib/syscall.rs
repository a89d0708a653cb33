//! The way of one call that the kernel asks about in a function of its own: whose it is, what it is about, the decision.
//!
//! What must stay true: one decision for one system call, however often the kernel asks, and a call that somebody else
//! has denied stays denied with his errno.

use core::ptr;

use chaos_common::{
    call::Ongoing,
    counters::Skip,
    rule::{action, hook},
    scope::Scope,
};

use super::{
    caller, file,
    headers::{Address, Transport},
    judge::{self, Subject},
    kern, select,
    socket::{Ends, no_ends},
};
use crate::{
    fault,
    maps::{KCHAOS_ONGOING, KCHAOS_OWN, KCHAOS_SCOPE, KCHAOS_TRIAL},
};

/// What a call is about.
pub struct Call {
    /// Both ends of its socket, if it has one.
    pub ends: Ends,
    /// What holds for it.
    pub facts: u64,
}

impl Call {
    /// One that is about nothing but what the facts say.
    #[inline(always)]
    pub fn with(facts: u64) -> Self {
        Self { ends: no_ends(), facts }
    }
}

/// What sendfile(2), splice(2) and `copy_file_range(2)` ask for more than once.
const ASKED_AGAIN: u32 = hook::READ | hook::WRITE | hook::SEND;

/// `MAX_ERRNO` (`include/linux/err.h`), all of whose bits are set.
const MAX_ERRNO: u64 = 4095;

/// `EAGAIN` (`include/uapi/asm-generic/errno-base.h`).
const EAGAIN: u32 = 11;

/// Bit of `how` below: somebody has denied the call.
const DENIED: u32 = 1 << 31;
/// Bit of `how` below: the far end is an IPv6 address.
const V6: u32 = 1 << 30;
/// What is left of it: the number of the hook's bit.
const HOOK: u32 = 0xff;

/// Answers the kernel: 0 to let the call go on, or the negative errno that it fails with. `previous` is what others have
/// made of it; `about` finds out what it is about, or that it is none of those that count.
///
/// Everybody on the host comes along here, so who is not meant leaves first of all.
#[inline(always)]
pub fn answer(hook: u32, previous: i32, about: impl FnOnce(&Scope) -> Option<Call>) -> i32 {
    let Some(scope) = KCHAOS_SCOPE.get(0) else { return denied(previous) };
    if scope.rules != 0 && !caller::is_target(scope) {
        return denied(previous);
    }
    // One way through the program for all calls and answers: the compiler would make a copy of it for each.
    let hook = kern::opaque(u64::from(hook)) as u32;
    let errno = if scope.rules == 0 { trial(hook) } else { errno(scope, hook, previous, about) };
    let denied = denied(previous);
    if denied != 0 { denied } else { fault::call::fail(errno) }
}

/// What others have made of the call. The verifier wants to see that it is no success of our own making: by the bits that
/// are left.
#[inline(always)]
fn denied(previous: i32) -> i32 {
    -((kern::opaque(u64::from(previous.wrapping_neg().cast_unsigned())) & MAX_ERRNO) as i32)
}

/// How a call of the target's fails; 0 if it does not. (An `Option` that lives across branches has parts that were never
/// written, which old verifiers refuse.)
#[inline(always)]
fn errno(scope: &Scope, hook: u32, previous: i32, about: impl FnOnce(&Scope) -> Option<Call>) -> u32 {
    if caller::process() == scope.engine {
        return 0;
    }
    let mut ongoing: *mut Ongoing = ptr::null_mut();
    if hook & ASKED_AGAIN != 0 {
        ongoing = KCHAOS_ONGOING.get_ptr_mut(caller::thread()).unwrap_or_default();
    }
    if !ongoing.is_null() {
        let known = answered(hook, ongoing);
        if known & KNOWN != 0 {
            return (known & ERRNO) as u32;
        }
    }
    let Some(call) = about(scope) else { return 0 };
    let errno = decide(hook, previous, call, scope);
    if !ongoing.is_null() {
        note(hook, ongoing, errno);
    }
    errno
}

/// In what [`answered`] says: it was decided before, with the errno in [`ERRNO`].
const KNOWN: u64 = 1 << 32;
const ERRNO: u64 = 0xff;

/// What was decided before in the same system call.
#[inline(always)]
fn answered(hook: u32, ongoing: *mut Ongoing) -> u64 {
    // SAFETY: the entry of a map, of this thread alone.
    let Ongoing { decided, fails, errno, begun } = unsafe { ongoing.read_volatile() };
    let now = kern::boot_ns();
    if decided & hook == 0 || Ongoing::clock(now).wrapping_sub(begun) > Ongoing::LONGEST {
        return 0;
    }
    if fails & hook == 0 || !judge::armed(now) {
        return KNOWN;
    }
    KNOWN | u64::from(errno)
}

/// Notes it for the next time.
#[inline(always)]
fn note(hook: u32, ongoing: *mut Ongoing, failed: u32) {
    // SAFETY: the entry of a map, of this thread alone.
    unsafe {
        let Ongoing { decided, fails, .. } = ongoing.read_volatile();
        (&raw mut (*ongoing).decided).write_volatile(decided | hook);
        if failed != 0 {
            (&raw mut (*ongoing).fails).write_volatile(fails | hook);
            (&raw mut (*ongoing).errno).write_volatile(failed);
        }
    }
}

#[inline(always)]
fn decide(hook: u32, previous: i32, call: Call, scope: &Scope) -> u32 {
    let Call { ends: Ends { peer, transport }, facts } = call;
    let facts = facts | caller::facts(scope);
    let how =
        kern::lowest_bit(hook.into()) | if previous == 0 { 0 } else { DENIED } | if peer.v6 { V6 } else { 0 };
    kchaos_decide(how, peer.words[0], peer.words[1], transport.number(), facts)
}

/// Before anything is armed: whether this is the trial's own call.
#[inline(always)]
fn trial(hook: u32) -> u32 {
    let Some(trial) = KCHAOS_TRIAL.get(0) else { return 0 };
    if trial.who != caller::thread() || trial.hook != hook {
        return 0;
    }
    if let Some(own) = KCHAOS_OWN.get_ptr_mut(0) {
        // Whoever makes it runs our program.
        // SAFETY: the entry of a map.
        unsafe { own.write_volatile(caller::program()) };
    }
    trial.errno
}

/// The errno of the first rule that hits a call of the target's, or 0. A global function (see [`super`]).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_decide(how: u32, first: u64, second: u64, transport: u64, facts: u64) -> u32 {
    let Some(scope) = judge::scope() else { return 0 };
    let hook = 1u32 << (how & HOOK & 31);
    if scope.depths & 1 != 0 && caller::is_kernel() {
        return 0;
    }
    let peer = Address { words: [first, second], v6: how & V6 != 0 };
    let Some(found) = select::of_packet(scope, hook, &peer, Transport::from(transport), true) else {
        return 0;
    };
    if file::is_spared(scope, caller::program()) {
        return 0;
    }
    let subject = Subject { found, cgroup: kern::current_cgroup(), of: facts, new: false, ends: false };
    let Some(verdict) = judge::judge(&subject).verdict() else { return 0 };
    if verdict.rule.action != action::ERRNO {
        verdict.skipped(Skip::Failed);
        return 0;
    }
    if how & DENIED != 0 {
        verdict.skipped(Skip::Denied);
        return 0;
    }
    // Such a thread tries again and again what ends so, and hears no signal meanwhile.
    if verdict.rule.errno == EAGAIN && caller::is_worker() {
        verdict.skipped(Skip::Failed);
        return 0;
    }
    verdict.injected_unseen();
    verdict.rule.errno
}

/// Begins a system call that asks about its files again and again.
#[inline(always)]
pub fn begin() {
    let Some(scope) = judge::scope() else { return };
    if caller::is_target(scope) {
        // Without room every question is a call of its own, as it is without this.
        let ongoing = Ongoing { begun: Ongoing::clock(kern::boot_ns()), ..Ongoing::NONE };
        let _full = KCHAOS_ONGOING.insert(caller::thread(), ongoing, 0);
    }
}

/// Ends it, also for those who have left the target meanwhile.
#[inline(always)]
pub fn end() {
    let _was_none = KCHAOS_ONGOING.remove(caller::thread());
}
