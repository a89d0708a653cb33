//! The order of packets in a connection, one direction at a time: none is due before the one in front of it.
//!
//! What must stay true: as long as packets of a connection wait, one that need not wait for its own sake goes behind them.
//! Those that are due may still be on their way out, as timers are late, so they are counted and not only timed.

use chaos_common::{
    flow::UNKNOWN,
    line::{BEHIND_NS, Order},
};

use super::count;
use crate::maps::KCHAOS_ORDER;

/// When a packet of a connection is due that comes at `now` and should be due at `due` (`CLOCK_MONOTONIC`, ns), and the
/// number under which the connection's order is kept; 0 if it is not. `direction` tells apart what must not wait for one
/// another, and is below 4.
#[inline(always)]
pub fn keep(flow: u64, direction: u64, now: u64, due: u64) -> (u64, u64) {
    // Later fragments of unrelated datagrams.
    if flow == UNKNOWN {
        return (due, 0);
    }
    let key = flow ^ direction << 1;
    let Some(order) = KCHAOS_ORDER.get_ptr_mut(key) else {
        // Without room the order of this connection is not kept.
        let _no_room = KCHAOS_ORDER.insert(key, Order { due, waiting: 0 }, 0);
        return (due, key);
    };
    // SAFETY: the entry of a map. Volatile: other CPUs may write it, too.
    unsafe {
        let (last, waiting) =
            ((&raw const (*order).due).read_volatile(), (&raw const (*order).waiting).read_volatile());
        let mut due = if last > due { last } else { due };
        let soonest = now.wrapping_add(BEHIND_NS);
        // An entry that was forgotten while packets waited counts below 0 when they come out.
        if waiting != 0 && waiting < u64::MAX / 2 && due < soonest {
            due = soonest;
        }
        (&raw mut (*order).due).write_volatile(due);
        (due, key)
    }
}

/// One more, or one less (`u64::MAX`), of a connection's packets waits.
#[inline(always)]
pub fn count(connection: u64, more: u64) {
    if connection == 0 {
        return;
    }
    if let Some(order) = KCHAOS_ORDER.get_ptr_mut(connection) {
        // SAFETY: the entry of a map, aligned to 8 bytes.
        unsafe { count::add(&raw mut (*order).waiting, more) }
    }
}
