//! What is to be done to the packet at hand by rules that leave it on its way: noted while the rules are asked, done
//! afterwards ([`super::act`]).
//!
//! There is one plan for each CPU. tc programs run one after the other on a CPU, so it is ours from [`clear`] on, until
//! a packet is sent from within the program (`bpf_clone_redirect`), which runs other programs first: by then it has
//! been read.

use chaos_common::counters::Skip;

use super::{count, kern};
use crate::maps::{KCHAOS_COUNTERS, KCHAOS_PLAN, KCHAOS_RULES};

/// Rules that can be noted for one packet.
pub const NOTES: usize = 8;

/// The plan.
#[repr(C)]
pub struct Plan {
    count: u64,
    notes: [Note; NOTES],
}

/// A rule that has something to do.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Note {
    /// Number of the rule.
    pub rule: u32,
    /// [`HIT`] or [`FOLLOWS`].
    pub why: u32,
    /// The ordinal of the match.
    pub ordinal: u64,
}

/// [`Note::why`]: the packet is hit, and not counted yet.
pub const HIT: u32 = 0;
/// [`Note::why`]: the packet was hit, and has been counted.
pub const SETTLED: u32 = 2;
/// [`Note::why`]: the packet is not hit, and has been counted; but it must not overtake those that were.
pub const FOLLOWS: u32 = 1;

/// Forgets what was planned for the last packet.
#[inline(always)]
pub fn clear() {
    if let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) {
        // SAFETY: the entry of a map of this CPU.
        unsafe { (&raw mut (*plan).count).write_volatile(0) }
    }
}

/// How many rules are noted.
#[inline(always)]
pub fn count() -> u64 {
    // SAFETY: as above.
    KCHAOS_PLAN.get_ptr(0).map_or(0, |plan| unsafe { (&raw const (*plan).count).read_volatile() })
}

/// Notes a rule; `false` if there is no room.
#[inline(always)]
pub fn note(rule: u32, why: u32, ordinal: u64) -> bool {
    let Some(plan) = KCHAOS_PLAN.get_ptr_mut(0) else { return false };
    // SAFETY: as above; the index is checked.
    unsafe {
        let count = kern::opaque((&raw const (*plan).count).read_volatile());
        if count >= NOTES as u64 {
            return false;
        }
        let note = (&raw mut (*plan).notes).cast::<Note>().add(count as usize);
        (&raw mut (*note).rule).write_volatile(rule);
        (&raw mut (*note).why).write_volatile(why);
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
            why: (&raw const (*note).why).read_volatile(),
            ordinal: (&raw const (*note).ordinal).read_volatile(),
        })
    }
}

/// Counts all that were noted and not yet counted, of actions from `first` to `last`. A global function (see [`super`]).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_settle(first: u32, last: u32, how: u32) -> u32 {
    let mut number = 0;
    loop {
        settle(number, first, last, how);
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
pub fn settle_all(actions: core::ops::RangeInclusive<u32>, how: u32) {
    kchaos_settle(*actions.start(), *actions.end(), how);
}

/// They were to be done, and a later rule has lost the packet.
#[inline(always)]
pub fn settle_lost() {
    kchaos_settle(0, u32::MAX, Skip::Lost as u32);
}

/// What became of one rule that was noted.
#[inline(always)]
pub fn settle_one(number: u32, how: u32) {
    settle(number, 0, u32::MAX, how);
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
            (&raw mut (*note).why).write_volatile(SETTLED);
        }
    }
}

#[inline(always)]
fn settle(number: u32, first: u32, last: u32, how: u32) {
    if u64::from(number) >= count() {
        return;
    }
    let Some(Note { rule, why: HIT, .. }) = get(number) else { return };
    let Some(rule) = KCHAOS_RULES.get(rule) else { return };
    let Some(counters) = KCHAOS_COUNTERS.get_ptr_mut(rule.counters) else { return };
    if rule.action < first || rule.action > last {
        return;
    }
    if how == INJECTED {
        count::injected(counters);
    } else {
        count::skipped_number(counters, how);
    }
    settled(number);
}
