//! What those who act on a packet have to know of it, in one number.

use super::{flow::Flow, headers::Transport};

/// What is known of the packet, packed into one number: its way, which end of its connection it comes from, its protocol,
/// and where its transport header begins.
#[derive(Clone, Copy)]
pub struct What(u32);

impl What {
    /// `way`: 0 or `chaos_common::line::WAY_IN`.
    #[inline(always)]
    pub fn new(way: u32, flow: &Flow, transport: Transport) -> Self {
        let end = if flow.from_the_greater { FROM_THE_GREATER } else { 0 };
        let piece = if transport.is_fragment() { PIECE } else { 0 };
        Self((way & 1) << 24 | end | piece | u32::from(transport.protocol()) << 16 | transport.offset())
    }

    /// The number it is packed into, for functions that take plain numbers ([`super`]).
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether the packet comes from the end with the greater hash (`chaos_common::flow`).
    #[inline(always)]
    pub const fn is_from_the_greater(self) -> bool {
        self.0 & FROM_THE_GREATER != 0
    }

    /// Whether it is a piece of a datagram, the first or a later one.
    #[inline(always)]
    pub const fn is_piece(self) -> bool {
        self.0 & PIECE != 0
    }

    /// Tells apart what goes each way in a connection, at each of the places where it is judged.
    #[inline(always)]
    pub const fn direction(self) -> u64 {
        (self.0 >> 24 & 3) as u64
    }

    /// 0 on its way out, or `chaos_common::line::WAY_IN`.
    #[inline(always)]
    pub const fn way(self) -> u32 {
        self.0 >> 24 & 1
    }

    /// IP protocol number.
    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// Where its transport header begins, counted from the network header; 0 if it is not here.
    #[inline(always)]
    pub const fn transport(self) -> u32 {
        self.0 & 0xffff
    }
}

impl From<u32> for What {
    /// What [`What::number`] has packed.
    #[inline(always)]
    fn from(number: u32) -> Self {
        Self(number)
    }
}

const FROM_THE_GREATER: u32 = 1 << 25;
const PIECE: u32 = 1 << 26;
