//! The delay line: where packets wait, and what is known of them meanwhile.
//!
//! A packet that must wait is redirected to a device of ours in its network namespace, and comes back from there when
//! its time has come. On the way it carries twelve bytes where its two link-layer addresses were: when it is due, and
//! a number under which everything that the journey would lose is kept ([`Waiting`]).

/// The number of the line's device: this plus the experiment's number on the host. It is the same in every network
/// namespace, so that a program need not know where it runs.
pub const FIRST_INDEX: u32 = 0x6b63_0000;

/// What the device is called: this and the experiment's number.
pub const DEVICE_PREFIX: &str = "kchaos";

/// Packets that may wait, unless the experiment says otherwise.
pub const DEFAULT_PACKETS: u32 = 100_000;

/// Bytes that may wait, unless the experiment says otherwise.
pub const DEFAULT_BYTES: u64 = 256 << 20;

/// Where in a frame it says when it is due: `CLOCK_MONOTONIC`, ns, native byte order, 8 bytes.
pub const RELEASE_AT: usize = 0;

/// Where in a frame its number is: native byte order, 4 bytes.
pub const ID_AT: usize = 8;

/// [`Waiting::way`]: the packet was on its way in, and goes on there.
pub const WAY_IN: u32 = 1;

/// What is kept of a packet that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Waiting {
    /// Its link-layer addresses, and the four bytes behind them.
    pub addresses: [u64; 2],
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
}

/// Totals of the line: bytes that went in.
pub const BYTES_IN: u32 = 0;
/// Totals of the line: bytes that came out.
pub const BYTES_OUT: u32 = 1;
/// Totals of the line: packets that came out and nobody knows.
pub const STRANGERS: u32 = 2;
/// Number of totals.
pub const TOTALS: usize = 3;

/// The number of a packet: the CPU in the upper 12 bits, its own count below. The same one is used again after a
/// million packets of a CPU, and refused if it is still in use.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower bits are what is wanted")]
pub const fn id(cpu: u32, count: u64) -> u32 {
    cpu << 20 | (count as u32 & 0xf_ffff)
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding ([`crate::layout`] checks it), every bit pattern is valid.
unsafe impl aya::Pod for Waiting {}
