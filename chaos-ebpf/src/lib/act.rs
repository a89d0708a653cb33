//! Does what was noted for a packet ([`super::plan`]): flips bits, sends copies, and makes it wait.
//!
//! Delays add up, and a packet that is due earlier than the one before it in its connection waits for that one, unless
//! it is to be out of order. What must stay true: every rule that was noted is counted once, when it is known what
//! became of it.

use aya_ebpf::bindings::__sk_buff;
use chaos_common::{
    corrupt::{DISCARDED, OUTCOME},
    counters::Skip,
    delay::LONGEST_NS,
    lateness,
    rule::action,
};

use super::{
    judge, kern, line, order,
    parse::ETHERTYPE_IPV4,
    plan::{self, INJECTED, NOTES, Note},
    receiver,
    skb::Skb,
    what::What,
};
use crate::{fault, maps::KCHAOS_RULES};

/// The loopback device has this number in every network namespace.
pub const LO: u32 = 1;

/// In what rules want: how long the packet must wait, in ns.
const WAIT: u64 = (1 << 56) - 1;
/// In what one rule wants: nothing more, it is done.
const DONE: u64 = 1 << 56;
/// In what one rule wants: nothing more, it cannot be done.
const FAILED: u64 = 1 << 57;
/// Beside what rules want: it cannot be sent into the line.
const STAYS: u64 = 1 << 58;
/// In what rules want: the packet is hit, and waits for that.
const HELD: u64 = 1 << 59;
/// In what rules want: it need not keep its place among the others.
const OUT_OF_ORDER: u64 = 1 << 60;
/// In what rules want: a copy of it.
const COPY: u64 = 1 << 61;
/// In what rules want: it is to be lost.
const LOSE: u64 = 1 << 62;
/// In what rules want: it must not overtake those before it.
const IN_ORDER: u64 = 1 << 63;

/// What becomes of a packet.
pub mod fate {
    /// It goes on.
    pub const GOES_ON: u32 = 0;
    /// It is lost.
    pub const LOST: u32 = 1;
    /// A copy waits in the line in its place.
    pub const WAITS: u32 = 2;
}

/// Does what was noted: the program's answer, if the packet does not simply go on.
#[inline(always)]
pub fn act(skb: &Skb, flow: u64, what: What, lose: impl FnOnce() -> i32) -> Option<i32> {
    if !kern::uses(action::LEAVES_ON_ITS_WAY) || plan::count() == 0 && !plan::follows() {
        return None;
    }
    // Calls side by side and not one in the other: all stacks together have 512 bytes.
    let wanted = kchaos_wanted(skb.context(), flow, what.number());
    let stays = skb.device() == LO && has_no_sender(skb, what);
    let wanted = if stays { wanted | STAYS } else { wanted };
    match kchaos_carry_out(skb.context(), flow, what.number(), wanted) {
        // Where a copy waits, the sender must not hear that his packet was refused: he would take that for a full queue.
        fate::LOST | fate::WAITS => Some(lose()),
        _ => None,
    }
}

/// Whether the addresses of a packet on lo have been translated ([`receiver::kchaos_has_sender`]).
#[inline(always)]
pub fn has_no_sender(skb: &Skb, what: What) -> bool {
    receiver::kchaos_has_sender(skb.context(), what.protocol().into(), what.transport()) == 0
}

/// Does what was noted; answers with one of [`fate`]. A global function (see [`super`]), like those below.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_carry_out(skb: *mut __sk_buff, flow: u64, what: u32, wanted: u64) -> u32 {
    if !kern::uses(action::LEAVES_ON_ITS_WAY) {
        return fate::GOES_ON;
    }
    let (skb, what) = (&Skb::from(skb), What::from(what));
    if wanted & LOSE != 0 {
        kchaos_give_back(skb.context(), flow);
        plan::settle_lost();
        return fate::LOST;
    }
    let now = kern::monotonic_ns();
    let (release, connection) = release(flow, what, now, wanted);
    let copy = wanted & COPY != 0;
    if release <= now {
        plan::settle_all(action::WAITS, INJECTED);
        copy_here(skb, what, copy);
        return fate::GOES_ON;
    }
    let refused = if wanted & STAYS != 0 {
        Skip::Failed as u32 + 1
    } else {
        kchaos_check_in(skb.context(), release, connection, what.number())
    };
    // One that only must not overtake others may do so where there is no room.
    if refused == Skip::Overflow as u32 + 1 && wanted & HELD != 0 {
        plan::settle_all(action::WAITS, Skip::Overflow as u32);
        plan::settle_lost();
        kchaos_give_back(skb.context(), flow);
        return fate::LOST;
    }
    if refused != 0 || kchaos_send(skb.context()) == 0 {
        let why = if refused == 0 { Skip::Failed as u32 } else { refused - 1 };
        plan::settle_all(action::WAITS, why);
        copy_here(skb, what, copy);
        return fate::GOES_ON;
    }
    plan::settle_all(action::WAITS, INJECTED);
    if copy {
        let two = kchaos_check_in_copy(skb.context()) != 0 && kchaos_send(skb.context()) != 0;
        plan::settle_all(1 << action::DUPLICATE, sent(two));
    }
    fate::WAITS
}

/// Sends a copy of the packet on from where it is. On lo one of IPv4 that arrives has no route, and is lost unless there is
/// a line, for which the settings of lo are made.
#[inline(always)]
fn copy_here(skb: &Skb, what: What, copy: bool) {
    if copy && kern::uses(1 << action::DUPLICATE) {
        let no_line = judge::scope().is_none_or(|scope| scope.line == 0);
        let lost = no_line && what.way() != 0 && skb.device() == LO && skb.ethertype() == ETHERTYPE_IPV4;
        let how = sent(!lost && fault::duplicate::send(skb, what.way()));
        plan::settle_all(1 << action::DUPLICATE, how);
    }
}

/// Gives back what rules of [`action::RATE`] have let a packet take that is lost now. (Every rule that is noted has hit it.)
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_give_back(skb: *mut __sk_buff, flow: u64) -> u32 {
    if !kern::uses(1 << action::RATE) {
        return 0;
    }
    let bytes = Skb::from(skb).wire_length();
    let mut number = 0;
    loop {
        kchaos_give_back_one(number, flow, bytes);
        number += 1;
        if number == NOTES as u32 {
            return 0;
        }
    }
}

/// The same for one that was noted.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_give_back_one(number: u32, flow: u64, bytes: u32) -> u32 {
    if kern::uses(1 << action::RATE)
        && u64::from(number) < plan::count()
        && let Some(Note { rule, .. }) = plan::get(number)
        && let Some(rule) = KCHAOS_RULES.get(rule)
        && rule.action == action::RATE
    {
        fault::rate::give_back(rule, flow, bytes);
    }
    0
}

#[inline(always)]
const fn sent(was: bool) -> u32 {
    if was { INJECTED } else { Skip::Failed as u32 }
}

/// When the line is to let the packet out, by the monotonic clock, and under which number the order of its connection is
/// kept, or 0.
#[inline(always)]
fn release(flow: u64, what: What, now: u64, wanted: u64) -> (u64, u64) {
    let wait = wanted & WAIT;
    let wait = if wait > LONGEST_NS { LONGEST_NS } else { wait };
    let due = now.wrapping_add(wait.wrapping_sub(lateness::earlier(line::lateness(), wait)));
    if wanted & OUT_OF_ORDER != 0 || wanted & IN_ORDER == 0 {
        return (due, 0);
    }
    order::keep(flow, what.direction(), now, due)
}

/// What all noted rules want, put together. A packet is copied once, and lost once.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_wanted(skb: *mut __sk_buff, flow: u64, what: u32) -> u64 {
    if !kern::uses(action::LEAVES_ON_ITS_WAY) {
        return 0;
    }
    let (mut wanted, mut number) = (if plan::follows() { IN_ORDER } else { 0 }, 0);
    loop {
        let one = kchaos_act(skb, number, flow, what);
        let again = one & wanted;
        if one & DONE != 0 && again & LOSE == 0 {
            plan::settle_one(number, INJECTED);
        }
        if one & FAILED | again & COPY != 0 {
            plan::settle_one(number, Skip::Failed as u32);
        }
        let wait = (wanted & WAIT).wrapping_add(one & WAIT);
        wanted = kern::forgotten((wanted | one) & !(WAIT | DONE | FAILED) | wait & WAIT, flow);
        number += 1;
        if number == NOTES as u32 {
            return wanted;
        }
    }
}

/// What one noted rule wants. What nothing else depends on is done at once.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_act(skb: *mut __sk_buff, number: u32, flow: u64, what: u32) -> u64 {
    if !kern::uses(action::LEAVES_ON_ITS_WAY) || u64::from(number) >= plan::count() {
        return 0;
    }
    let (skb, what) = (&Skb::from(skb), What::from(what));
    let Some(Note { rule, ordinal, .. }) = plan::get(number) else { return 0 };
    let Some(rule) = KCHAOS_RULES.get(rule) else { return 0 };
    match rule.action {
        action::DELAY if kern::uses(1 << action::DELAY) => {
            fault::delay::wait(rule, ordinal) & WAIT | IN_ORDER | HELD
        }
        action::RATE if kern::uses(1 << action::RATE) => {
            fault::rate::wait(rule, flow, kern::monotonic_ns(), skb.wire_length()) & WAIT | IN_ORDER | HELD
        }
        action::REORDER if kern::uses(1 << action::REORDER) => {
            fault::reorder::wait(rule) & WAIT | OUT_OF_ORDER | HELD
        }
        action::DUPLICATE => COPY,
        action::CORRUPT if rule.numbers[OUTCOME] == DISCARDED => LOSE | DONE,
        action::CORRUPT
            if kern::uses(1 << action::CORRUPT)
                && fault::corrupt::flip(skb, rule, ordinal, what.protocol(), what.transport()) =>
        {
            DONE
        }
        _ => FAILED,
    }
}

/// Whether the packet, which was written down, has been sent into the line: 1 or 0.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_send(skb: *mut __sk_buff) -> u32 {
    if !kern::uses(action::WAITS) {
        return 0;
    }
    judge::scope().is_some_and(|scope| line::send(scope, &Skb::from(skb))).into()
}

/// Whether it was written down once more: 1 or 0.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_check_in_copy(skb: *mut __sk_buff) -> u32 {
    if !kern::uses(1 << action::DUPLICATE) {
        return 0;
    }
    line::check_in_copy(&Skb::from(skb)).into()
}

/// 0, or one more than the number of the [`Skip`].
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_check_in(skb: *mut __sk_buff, release: u64, connection: u64, what: u32) -> u32 {
    if !kern::uses(action::WAITS) {
        return Skip::Failed as u32 + 1;
    }
    let Some(scope) = judge::scope() else { return Skip::Failed as u32 + 1 };
    let what = What::from(what);
    match line::check_in(scope, &Skb::from(skb), release, connection, what.way()) {
        Ok(()) => 0,
        Err(why) => why as u32 + 1,
    }
}
