//! The way of one call that names a far end: connect(2), and UDP's sendto(2) and sendmsg(2).

use aya_ebpf::{bindings::bpf_sock_addr, programs::SockAddrContext};
use chaos_common::{counters::Skip, flow, rule::action};

use super::{
    judge::{self, Subject},
    kern,
    parse::Address,
    select, target,
};
use crate::fault;

const IPPROTO_TCP: u32 = 6;
const IPPROTO_MPTCP: u32 = 262;

/// A call on an IPv4 socket: the program's answer if it is hit.
#[inline(always)]
pub fn connect4(ctx: *mut bpf_sock_addr) -> Option<i32> {
    // SAFETY: the kernel hands a valid context to the program. The field is in network byte order: its bytes in memory
    // are the address.
    let address = unsafe { (&raw const (*ctx).user_ip4).read_volatile() }.to_ne_bytes();
    call(ctx, Address::v4(address))
}

/// A call on an IPv6 socket: the program's answer if it is hit.
#[inline(always)]
pub fn connect6(ctx: *mut bpf_sock_addr) -> Option<i32> {
    // SAFETY: as above; one 32-bit load per word, the width that every kernel allows.
    let words: [u32; 4] = unsafe {
        let ip6 = (&raw const (*ctx).user_ip6).cast::<u32>();
        [
            ip6.read_volatile(),
            ip6.add(1).read_volatile(),
            ip6.add(2).read_volatile(),
            ip6.add(3).read_volatile(),
        ]
    };
    call(ctx, unmap(words))
}

/// An IPv4-mapped address (`::ffff:a.b.c.d`, RFC 4291) reaches an IPv4 peer, and is matched as one.
#[inline(always)]
fn unmap(words: [u32; 4]) -> Address {
    if words[0] == 0 && words[1] == 0 && words[2] == 0x0000_ffffu32.to_be() {
        return Address::v4(words[3].to_ne_bytes());
    }
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    Address::v6(&[
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3],
    ])
}

#[inline(always)]
fn call(ctx: *mut bpf_sock_addr, peer: Address) -> Option<i32> {
    let scope = judge::scope()?;
    if !target::includes_call(scope, ctx) {
        return None;
    }
    // SAFETY: a valid context. The port is in network byte order, in the lower half.
    let (port, protocol) = unsafe {
        (
            u16::from_be((&raw const (*ctx).user_port).read_volatile() as u16),
            (&raw const (*ctx).protocol).read_volatile(),
        )
    };
    let protocol = if protocol == IPPROTO_MPTCP { IPPROTO_TCP } else { protocol } as u8;
    let found = select::of_call(scope, &peer, protocol, port)?;
    let subject = Subject { found, cgroup: kern::current_cgroup(), flow: flow::UNKNOWN, new: false };
    let verdict = judge::judge(&subject).verdict()?;
    if verdict.rule.action != action::ERRNO {
        verdict.skipped(Skip::Failed);
        return None;
    }
    // A denial by another program or policy stays as it is: we never change its errno, nor claim it as ours.
    if kern::earlier_verdict() != 0 {
        verdict.skipped(Skip::Denied);
        return None;
    }
    let Some(answer) = fault::connect::fail(verdict.rule.errno) else {
        verdict.skipped(Skip::Failed);
        return None;
    };
    verdict.injected(&SockAddrContext::new(ctx));
    Some(answer)
}
