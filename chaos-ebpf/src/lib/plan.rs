//! What is to be done to the packet at hand by rules that leave it on its way: noted while the rules are asked, done
//! afterwards ([`super::act`]).
//!
//! There is one plan for each CPU. tc programs run one after the other on a CPU, so it is ours from [`clear`] on. A packet
//! that is sent from within the program (`bpf_clone_redirect`) runs programs at once, ours too: they see our mark on it, or
//! that it is in the line, and return before they clear the plan.

use chaos_common::{
    counters::Skip,
    rule::action::{self, Set},
};

use super::{count, kern};
use crate::maps::{KCHAOS_COUNTERS, KCHAOS_PLAN, KCHAOS_RULES};

/// Rules that can be noted for one packet.
pub const NOTES: usize = 8;

/// The plan.
#[repr(C)]
pub struct Plan {
    count: u64,
    /// Not 0: a rule that keeps the order of connections did not hit the packet, which must not overtake those that it
    /// did.
    follows: u64,
    /// How many bytes the packet's connection has carried, the packet's own among them, in the direction that has more.
    carried: u64,
    /// How many of them are the packet's own.
    fresh: u64,
    /// When that was seen first, by `CLOCK_BOOTTIME` in ns; far in the future if nobody knows.
    since: u64,
    /// Not 0: the packet's socket knows its far end by another address ([`super::service`]).
    translated: u64,
    /// The rows of that.
    service: u64,
    notes: [Note; NOTES],
}

/// A rule that hits the packet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Note {
    /// Number of the rule.
    pub rule: u32,
    /// Not 0: what became of it has been counted.
    pub settled: u32,
    /// The ordinal of the match.
    pub ordinal: u64,
}

/// Forgets what was planned for the last packet.
#[inline(always)]
pub fn clear() {
    if let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) {
        // SAFETY: the entry of a map of this CPU.
        unsafe {
            (&raw mut (*plan).count).write_volatile(0);
            (&raw mut (*plan).follows).write_volatile(0);
            (&raw mut (*plan).carried).write_volatile(0);
            (&raw mut (*plan).since).write_volatile(u64::MAX);
            (&raw mut (*plan).translated).write_volatile(0);
        }
    }
}

/// Says that the packet's far end is a service, and its rows.
#[inline(always)]
pub fn set_service(rows: u64) {
    if let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*plan).service).write_volatile(rows);
            (&raw mut (*plan).translated).write_volatile(1);
        }
    }
}

/// Whether that was said.
#[inline(always)]
pub fn is_translated() -> bool {
    // SAFETY: as above.
    KCHAOS_PLAN.get_ptr(0).is_some_and(|plan| unsafe { (&raw const (*plan).translated).read_volatile() != 0 })
}

/// The rows of the service.
#[inline(always)]
pub fn service() -> u64 {
    // SAFETY: as above.
    KCHAOS_PLAN.get_ptr(0).map_or(0, |plan| unsafe { (&raw const (*plan).service).read_volatile() })
}

/// Says what is known of the packet's connection.
#[inline(always)]
pub fn set_life(since: u64, carried: u64, fresh: u64) {
    if let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*plan).carried).write_volatile(carried);
            (&raw mut (*plan).fresh).write_volatile(fresh);
            (&raw mut (*plan).since).write_volatile(since);
        }
    }
}

/// How much the packet's connection has carried, how much of that the packet brings, and how old it is at `now`, in bytes
/// and ns.
#[inline(always)]
pub fn life(now: u64) -> (u64, u64, u64) {
    // SAFETY: as above.
    KCHAOS_PLAN.get_ptr(0).map_or((0, 0, 0), |plan| unsafe {
        let since = (&raw const (*plan).since).read_volatile();
        (
            (&raw const (*plan).carried).read_volatile(),
            (&raw const (*plan).fresh).read_volatile(),
            now.saturating_sub(since),
        )
    })
}

/// How many rules are noted.
#[inline(always)]
pub fn count() -> u64 {
    // SAFETY: as above.
    KCHAOS_PLAN.get_ptr(0).map_or(0, |plan| unsafe { (&raw const (*plan).count).read_volatile() })
}

/// Whether the packet must not overtake others, although it need not be hit.
#[inline(always)]
pub fn follows() -> bool {
    // SAFETY: as above.
    KCHAOS_PLAN.get_ptr(0).is_some_and(|plan| unsafe { (&raw const (*plan).follows).read_volatile() != 0 })
}

/// See [`follows`].
#[inline(always)]
pub fn follow() {
    if let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { (&raw mut (*plan).follows).write_volatile(1) }
    }
}

/// Notes a rule; `false` if there is no room.
#[inline(always)]
pub fn note(rule: u32, ordinal: u64) -> bool {
    let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) else { return false };
    // SAFETY: as above; the index is checked.
    unsafe {
        let count = kern::opaque((&raw const (*plan).count).read_volatile());
        if count >= NOTES as u64 {
            return false;
        }
        let note = (&raw mut (*plan).notes).cast::<Note>().add(count as usize);
        (&raw mut (*note).rule).write_volatile(rule);
        (&raw mut (*note).settled).write_volatile(0);
        (&raw mut (*note).ordinal).write_volatile(ordinal);
        (&raw mut (*plan).count).write_volatile(count + 1);
    }
    true
}

/// The note of that number.
#[inline(always)]
pub fn get(number: u32) -> Option<Note> {
    let plan = KCHAOS_PLAN.get_ptr(0)?;
    let number = kern::opaque(u64::from(number));
    if number >= NOTES as u64 {
        return None;
    }
    // SAFETY: as above.
    unsafe {
        let note = (&raw const (*plan).notes).cast::<Note>().add(number as usize);
        Some(Note {
            rule: (&raw const (*note).rule).read_volatile(),
            settled: (&raw const (*note).settled).read_volatile(),
            ordinal: (&raw const (*note).ordinal).read_volatile(),
        })
    }
}

/// Counts all that were noted and not yet counted, of the actions of a set. A global function (see [`super`]).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_settle(actions: u32, how: u32) -> u32 {
    if !kern::uses(action::LEAVES_ON_ITS_WAY) {
        return 0;
    }
    let mut number = 0;
    loop {
        kchaos_settle_one(number, actions, how);
        number += 1;
        if number == NOTES as u32 {
            return 0;
        }
    }
}

/// What becomes of a noted rule that took effect, as a number beside those of [`Skip`].
pub const INJECTED: u32 = 0xff;

/// What became of the rules that were noted whose action is one of `actions`.
#[inline(always)]
pub fn settle_all(actions: Set, how: u32) {
    kchaos_settle(actions, how);
}

/// They were to be done, and another rule has lost the packet.
#[inline(always)]
pub fn settle_lost() {
    kchaos_settle(action::ALL, Skip::Lost as u32);
}

/// What became of one rule that was noted.
#[inline(always)]
pub fn settle_one(number: u32, how: u32) {
    kchaos_settle_one(number, action::ALL, how);
}

/// Not to be counted once more.
#[inline(always)]
fn settled(number: u32) {
    let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) else { return };
    let number = kern::opaque(u64::from(number));
    if number < NOTES as u64 {
        // SAFETY: the entry of a map of this CPU, and the index was just checked.
        unsafe {
            let note = (&raw mut (*plan).notes).cast::<Note>().add(number as usize);
            (&raw mut (*note).settled).write_volatile(1);
        }
    }
}

/// Counts one that was noted, as [`kchaos_settle`] does.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_settle_one(number: u32, actions: u32, how: u32) -> u32 {
    settle(number, actions, how);
    0
}

#[inline(always)]
fn settle(number: u32, actions: Set, how: u32) {
    if !kern::uses(action::LEAVES_ON_ITS_WAY) || u64::from(number) >= count() {
        return;
    }
    let Some(Note { rule, settled: 0, .. }) = get(number) else { return };
    let Some(rule) = KCHAOS_RULES.get(rule) else { return };
    let Some(counters) = KCHAOS_COUNTERS.get_ptr_mut(rule.counters) else { return };
    if !action::is_one_of(rule.action, actions) {
        return;
    }
    if how == INJECTED {
        count::injected(counters);
    } else {
        count::skipped_number(counters, how);
    }
    settled(number);
}
