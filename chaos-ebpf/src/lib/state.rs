//! What a rule remembers from one match to the next: where its pattern stands, its last delay, its token bucket.
//!
//! Packets of several CPUs come by at once, so the state of a rule changes under a lock. (That of a connection does
//! not: its packets come one after the other, mostly, and a map of connections that forgets by itself has no locks on
//! old kernels.)

use aya_ebpf::{
    bindings::bpf_spin_lock,
    helpers::generated::{bpf_spin_lock as lock, bpf_spin_unlock as unlock},
};
use chaos_common::{draw::mix, scope::noted};

use super::{count, kern};
use crate::maps::{KCHAOS_FLOWSTAT, KCHAOS_STATE};

/// The state of one rule.
#[repr(C)]
pub struct State {
    lock: bpf_spin_lock,
    reserved: u32,
    pattern: u64,
    effect: u64,
    hits: u64,
}

/// What about a rule is remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Where its pattern stands.
    Pattern,
    /// What its effect must know of the packets before: `chaos_common::delay` and `chaos_common::rate`.
    Effect,
    /// How often it has hit, if that is limited.
    Hits,
}

/// Goes from one state of a rule to the next by `step`, which answers with the new one and with what came of it. It must
/// not call anything: a program that holds a lock may not.
#[inline(always)]
pub fn of_rule<T: Default>(counters: u32, of: Of, step: impl FnOnce(u64) -> (u64, T)) -> T {
    let Some(state) = KCHAOS_STATE.get_ptr_mut(counters) else { return T::default() };
    if !kern::locks() {
        return T::default();
    }
    // SAFETY: the entry of a map, and the lock in it, which is held for as long as the numbers are used.
    unsafe {
        let word = match of {
            Of::Pattern => &raw mut (*state).pattern,
            Of::Effect => &raw mut (*state).effect,
            Of::Hits => &raw mut (*state).hits,
        };
        lock(&raw mut (*state).lock);
        let (next, answer) = step(word.read_volatile());
        word.write_volatile(next);
        unlock(&raw mut (*state).lock);
        answer
    }
}

/// The same for one connection of a rule. If there is no room, the connection is always a new one.
#[inline(always)]
pub fn of_flow<T>(counters: u32, flow: u64, step: impl FnOnce(u64) -> (u64, T)) -> T {
    let key = mix(flow.wrapping_add(u64::from(counters)));
    let Some(state) = KCHAOS_FLOWSTAT.get_ptr_mut(key) else {
        let (next, answer) = step(0);
        if KCHAOS_FLOWSTAT.insert(key, next, 0).is_ok() {
            count::noted(noted::STATE);
        }
        return answer;
    };
    // SAFETY: the entry of a map. Volatile: other CPUs may write it, too.
    unsafe {
        let (next, answer) = step(state.read_volatile());
        state.write_volatile(next);
        answer
    }
}
