//! `[delay_line]`: how much may wait at a time. What is too much for it is lost, and counted as skipped (`overflow`).

use std::ops::{Range, RangeInclusive};

use chaos_common::line::{DEFAULT_BYTES, DEFAULT_PACKETS};
use toml::Spanned;

use super::{
    Problem, Section,
    value::{Count, Size},
};

/// Room in the delay line of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRoom {
    /// Packets that may wait, 1 to a million.
    pub packets: u32,
    /// Bytes that may wait, 64 KiB to 4 GiB: a packet of TCP that is cut up later always fits.
    pub bytes: u64,
}

const MOST_PACKETS: u32 = 1_000_000;
const BYTES: RangeInclusive<u64> = 64 << 10..=4 << 30;

impl Default for LineRoom {
    fn default() -> Self {
        Self { packets: DEFAULT_PACKETS, bytes: DEFAULT_BYTES }
    }
}

impl LineRoom {
    /// Reads the table and says where it is; `None` if it is not there.
    pub(super) fn read(file: &mut Section<'_>) -> Result<Option<(Self, Range<usize>)>, Problem> {
        let Some(mut table) = file.table("delay_line")? else { return Ok(None) };
        let wrong = |span, message: String, limits: String| {
            Problem::at(span, message, "out of range")
                .help(format!("{limits}; what waits takes the kernel's memory, or that of kchaos"))
        };
        let packets = table.get::<Count>("packets")?;
        if let Some(many) = packets.as_ref().filter(|packets| packets.get_ref().0 > MOST_PACKETS) {
            let message = format!("{} packets are too many to wait", many.get_ref());
            return Err(wrong(many.span(), message, format!("at most {MOST_PACKETS} may")));
        }
        let bytes = table.get::<Size>("bytes")?;
        if let Some(other) = bytes.as_ref().filter(|bytes| !BYTES.contains(&bytes.get_ref().0)) {
            let limits = format!("the delay line holds {} to {}", Size(*BYTES.start()), Size(*BYTES.end()));
            let message = format!("{} are no room for a delay line", other.get_ref());
            return Err(wrong(other.span(), message, limits));
        }
        let span = table.span();
        table.finish()?;
        let room = Self {
            packets: packets.map_or(DEFAULT_PACKETS, |packets| packets.into_inner().0),
            bytes: bytes.map(Spanned::into_inner).map_or(DEFAULT_BYTES, |Size(bytes)| bytes),
        };
        Ok(Some((room, span)))
    }
}
