//! `corrupt`: bits of a packet's data are flipped.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_store_bytes},
};
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
    let length = match parse::rest(skb, from) {
        Some(length) if length != 0 => length,
        _ => return false,
    };
    let mut done = 0;
    for n in 0..MAX_BITS {
        if u64::from(n) >= rule.numbers[BITS] {
            break;
        }
        let (at, mask) = bit(length, number(rule.seed, ordinal, EFFECT + u64::from(n)));
        done |= kchaos_flip_one(skb.context(), start + from + at, mask.into(), start + transport, checksum);
    }
    done != 0
}

/// Flips the bits of `mask` in the byte at `at`, counted from the frame's start, as is `transport`; the checksum is
/// `checksum` bytes behind that. It is of words of two bytes from the transport header on; the last one may be half.
/// 1 or 0. A global function (see [`crate::lib`]).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn kchaos_flip_one(
    skb: *mut __sk_buff,
    at: u32,
    mask: u32,
    transport: u32,
    checksum: u32,
) -> u32 {
    let skb = &Skb::from(skb);
    let second = at.wrapping_sub(transport) & 1;
    let word = at.wrapping_sub(second);
    let Some([old]) = skb.data::<1>(at) else { return 0 };
    let [before, behind] = match skb.data::<2>(word) {
        Some(bytes) => bytes,
        None => [old, 0],
    };
    let new = old ^ mask as u8;
    let [after, last] = if second == 0 { [new, behind] } else { [before, new] };
    // SAFETY: helpers on the program's packet, with a byte of ours. Without the flag for the pseudo header the kernel
    // leaves a checksum alone that is yet to be made.
    unsafe {
        if bpf_skb_store_bytes(skb.context(), at, (&raw const new).cast(), 1, 0) != 0 {
            return 0;
        }
        let (from, to) = (u16::from_ne_bytes([before, behind]), u16::from_ne_bytes([after, last]));
        bpf_l4_csum_replace(
            skb.context(),
            transport.wrapping_add(checksum),
            u64::from(from),
            u64::from(to),
            2 | MANGLED_ZERO,
        );
    }
    1
}

/// A UDP checksum of zero says that there is none, and stays so.
const MANGLED_ZERO: u64 = 0x20;
