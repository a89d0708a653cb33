//! The delay line: a network device of ours that packets wait in.
//!
//! A packet that must wait is redirected to the line device of its network namespace, with its two Ethernet addresses
//! overwritten by a *stamp*: when it may go on, and which packet it is. It comes out where the line device receives,
//! not before that time, and is returned to where it came from. Both sides know the device by its number, which is the
//! same in every namespace, so the programs need not be told.

/// Number of the first line device of a network namespace; that of experiment `n` is `n` more. The upper half reads
/// "kc"; no kernel counts so far by itself.
pub const FIRST_INDEX: u32 = 0x6b63_0000;

/// Lines that there can be in one network namespace: one for each experiment on the host.
pub const LINES: u32 = 8;

/// Where in a frame the packet's id is: 4 bytes, native-endian, that only the programs read. It comes first, and is
/// even: to whoever gets the frame without knowing of us, it is for some other station.
pub const ID_OFFSET: usize = 0;

/// Where in a frame the release time is: 8 bytes, native-endian, `CLOCK_MONOTONIC` in nanoseconds.
pub const RELEASE_OFFSET: usize = 4;

/// Length of the stamp: exactly both Ethernet addresses.
pub const STAMP: usize = 12;

/// No packet may wait for longer. A line takes what is stamped beyond this for someone else's frame, and drops it.
pub const HORIZON_NS: u64 = 3600 * 1_000_000_000;

/// The program where a line device receives: returns packets to where they came from.
pub const EXIT: &str = "kchaos_line_exit";

/// The program where a kernel line sends: tells its queueing discipline the release time.
pub const WAIT: &str = "kchaos_line_wait";

/// The program where the far end of a kernel line receives: turns packets round, so that the line device receives them.
pub const BACK: &str = "kchaos_line_back";

/// The number of the line device of an experiment, which is below [`LINES`].
#[inline(always)]
pub const fn index(number: u32) -> u32 {
    FIRST_INDEX + number
}

/// Whether a network device is a line of some kchaos. By its number only: a name can be changed, and anybody may have
/// chosen one that looks like ours.
#[inline(always)]
pub const fn is_line(index: u32) -> bool {
    index >= FIRST_INDEX && index < FIRST_INDEX + LINES
}

/// Packets that may wait, unless the experiment says otherwise.
pub const DEFAULT_PACKETS: u32 = 100_000;

/// Bytes that may wait, unless the experiment says otherwise.
pub const DEFAULT_BYTES: u64 = 256 << 20;

/// [`Waiting::way`]: the packet was on its way in, and goes on there.
pub const WAY_IN: u32 = 1;

/// What is kept of a packet that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Waiting {
    /// Its link-layer addresses, and the four bytes behind them.
    pub addresses: [u64; 2],
    /// When the line is to let it out, by `CLOCK_MONOTONIC` in ns.
    pub release: u64,
    /// The connection whose order it keeps ([`Order`]); 0 if none.
    pub connection: u64,
    /// Its length in bytes.
    pub length: u32,
    /// The device that it comes from.
    pub device: u32,
    /// `skb->mark`.
    pub mark: u32,
    /// `skb->priority`.
    pub priority: u32,
    /// `skb->tc_index`.
    pub tag: u32,
    /// 0 on its way out, or [`WAY_IN`].
    pub way: u32,
    /// How many parts of it have not come out, if the line cuts it up. Large packets that TCP or a UDP sender leaves to be
    /// cut by the device (GSO) are cut by the line if they are larger than its device takes; each part has the stamp.
    pub parts: u64,
}

/// What is known of the packets of a connection that wait, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Order {
    /// When the last of them is due, by `CLOCK_MONOTONIC` in ns.
    pub due: u64,
    /// How many have not come out. A timer is late, so none of them may be left out for being due already.
    pub waiting: u64,
}

/// How long at least a packet waits that must not overtake others which are due. `fq` serves first what is overdue when
/// it comes.
pub const BEHIND_NS: u64 = 200_000;

/// Totals of the line: bytes that went in.
pub const BYTES_IN: u32 = 0;
/// Totals of the line: bytes that came out.
pub const BYTES_OUT: u32 = 1;
/// Totals of the line: bytes that went in and are known to have been lost; user space's own.
pub const BYTES_LOST: u32 = 2;
/// Beside the totals: how late packets come out, in ns ([`crate::lateness`]).
pub const LATENESS: u32 = 3;
/// Number of totals, and what is beside them.
pub const TOTALS: usize = 4;

/// The number of a packet: the CPU in the upper 11 bits, its own count below, and the lowest bit 0
/// ([`ID_OFFSET`]). The same one is used again after a million packets of a CPU, and refused if it is still in use.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are what is wanted")]
pub const fn id(cpu: u32, count: u64) -> u32 {
    cpu << 21 | (count as u32 & 0xf_ffff) << 1
}

/// The stamp of a packet, as three words in the order of its bytes.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "two halves of one number")]
pub const fn stamp(id: u32, release: u64) -> [u32; 3] {
    [id, release as u32, (release >> 32) as u32]
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Waiting {}

#[cfg(feature = "user")]
// SAFETY: likewise.
unsafe impl aya::Pod for Order {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_known_by_their_number() {
        assert!(is_line(index(0)) && is_line(index(LINES - 1)));
        assert!(!is_line(FIRST_INDEX - 1) && !is_line(index(LINES)) && !is_line(1));
    }

    #[test]
    fn a_stamp_is_no_address_of_a_group() {
        for (cpu, count) in [(0, 0), (1, 1), (2047, 0xf_ffff), (3, u64::MAX)] {
            let first = stamp(id(cpu, count), 7 << 32)[0].to_ne_bytes()[0];
            assert_eq!(0, first & 1);
        }
        assert_ne!(id(0, 1), id(0, 2));
        assert_eq!([6, 2, 1], stamp(6, 1 << 32 | 2));
    }

    #[test]
    fn the_kernel_takes_the_number() {
        // It is a signed number there, and more than 0.
        assert!(i32::try_from(index(LINES - 1)).is_ok_and(|i| i > 0));
    }
}
