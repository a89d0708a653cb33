//! `fq`, the queueing discipline that keeps every packet until its time.

use std::io;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::tc::TcOption;

use super::{Room, device};

/// Its kind.
pub const KIND: &str = "fq";

/// Options (`linux/pkt_sched.h`). Kernels leave out those that they do not know: before 5.8 there is no horizon, and
/// then none is needed.
const LIMIT: u16 = 1;
const FLOW_LIMIT: u16 = 2;
const QUANTUM: u16 = 3;
const INITIAL_QUANTUM: u16 = 4;
const RATE_ENABLE: u16 = 5;
const BUCKETS_LOG: u16 = 8;
const ORPHAN_MASK: u16 = 10;
const TIMER_SLACK: u16 = 13;
const HORIZON: u16 = 14;

/// More packets than there is room for, so that it is never this queue that decides: on its way to its place, a packet
/// is counted here and not yet there.
const SLACK: u32 = 1024;

/// A flow may send that much before it is another one's turn: packets of one time leave in the order in which they
/// came. The kernel takes no more.
const TURN: u32 = 1 << 20;

/// Packets without a socket, as ours are, are spread over so many flows at least, and twice as many as may wait, by
/// their hash, which the programs have set: a connection's, or one of its own. A flow waits as a whole: its packets leave
/// in the order of their times, but one that is due earlier than the first waits for it.
const FLOWS: u32 = 1 << 16;

/// In so many trees, of 8 bytes each.
const TREES_LOG: u32 = 12;

/// As late as a packet may be, in nanoseconds, so that timers can be put together.
const LATE_NS: u32 = 1000;

/// In microseconds: packets that are due after it are dropped, and usually it is 10 s.
const HORIZON_US: u32 = 3_600_000_000;
const _: () = assert!(HORIZON_US as u64 * 1000 == chaos_common::line::HORIZON_NS);

/// Puts it on a device.
pub fn put(index: u32, room: Room) -> io::Result<()> {
    let limit = room.packets.saturating_add(SLACK);
    let options = [
        (LIMIT, limit),
        (FLOW_LIMIT, limit),
        (QUANTUM, TURN),
        (INITIAL_QUANTUM, TURN),
        (RATE_ENABLE, 0),
        (BUCKETS_LOG, TREES_LOG),
        (ORPHAN_MASK, room.packets.saturating_mul(2).clamp(FLOWS, 1 << 22).next_power_of_two() - 1),
        (TIMER_SLACK, LATE_NS),
        (HORIZON, HORIZON_US),
    ];
    let option =
        |(kind, value): (u16, u32)| TcOption::Other(DefaultNla::new(kind, value.to_ne_bytes().to_vec()));
    device::queue(index, KIND, options.map(option).into())
}
