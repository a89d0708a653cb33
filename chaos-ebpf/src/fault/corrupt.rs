//! `corrupt`: bits of a packet's data are flipped.

use aya_ebpf::helpers::generated::{bpf_l4_csum_replace, bpf_skb_store_bytes};
use chaos_common::{
    corrupt::{BITS, MAX_BITS, bit},
    draw::number,
    rule::Rule,
};

use crate::lib::{draw::EFFECT, parse, skb::Skb};

/// Flips bits, and makes the checksum fit. `transport`: where its transport header begins, counted from the network
/// header. `false`: the packet has no data, or the kernel would not have it written to.
///
/// Data that was not copied yet is copied by the kernel first, so that what TCP may have to send again stays whole.
#[inline(always)]
pub fn flip(skb: &Skb, rule: &Rule, ordinal: u64, protocol: u8, transport: u32) -> bool {
    // A later fragment has no transport header.
    if transport == 0 {
        return false;
    }
    let Some((header, checksum)) = parse::data_after(skb, protocol, transport) else { return false };
    let (start, from) = (skb.network_offset(), transport + header);
    // Short frames are padded behind the packet.
    let Some(mut length) = skb.length().checked_sub(start + from) else { return false };
    if let Some(rest) = parse::ip_length(skb).and_then(|ip| ip.checked_sub(from))
        && rest < length
    {
        length = rest;
    }
    if length == 0 {
        return false;
    }
    let mut done = false;
    for n in 0..MAX_BITS {
        if u64::from(n) >= rule.numbers[BITS] {
            break;
        }
        let (at, mask) = bit(length, number(rule.seed, ordinal, EFFECT + u64::from(n)));
        done |= flip_one(skb, start, transport, (from + at, mask), checksum);
    }
    done
}

/// The checksum is of words of two bytes, counted from the transport header; the last one may be half.
#[inline(always)]
fn flip_one(skb: &Skb, start: u32, transport: u32, (at, mask): (u32, u8), checksum: u32) -> bool {
    let second = (at - transport) & 1;
    let word = at - second;
    let Some([old]) = skb.data::<1>(start + at) else { return false };
    let [before, behind] = match skb.data::<2>(start + word) {
        Some(bytes) => bytes,
        None => [old, 0],
    };
    let new = old ^ mask;
    let [after, last] = if second == 0 { [new, behind] } else { [before, new] };
    // SAFETY: helpers on the program's packet, with a byte of ours. Without the flag for the pseudo header the kernel
    // leaves a checksum alone that is yet to be made.
    unsafe {
        if bpf_skb_store_bytes(skb.context(), start + at, (&raw const new).cast(), 1, 0) != 0 {
            return false;
        }
        let (from, to) = (u16::from_ne_bytes([before, behind]), u16::from_ne_bytes([after, last]));
        bpf_l4_csum_replace(
            skb.context(),
            start + transport + checksum,
            u64::from(from),
            u64::from(to),
            2 | MANGLED_ZERO,
        );
    }
    true
}

/// A UDP checksum of zero says that there is none, and stays so.
const MANGLED_ZERO: u64 = 0x20;
