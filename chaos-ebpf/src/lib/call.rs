//! The way of one call that names a far end: connect(2), and UDP's sendto(2) and sendmsg(2).

use aya_ebpf::{bindings::bpf_sock_addr, programs::SockAddrContext};
use chaos_common::{
    counters::Skip,
    rule::{Rule, action},
};

use super::{
    headers::Address,
    judge::{self, Subject},
    kern, select, target,
};
use crate::fault::connect::{self, Form};

const IPPROTO_TCP: u32 = 6;
const IPPROTO_MPTCP: u32 = 262;

/// A call on an IPv4 socket: the program's answer if it is hit.
#[inline(always)]
pub fn ipv4(ctx: *mut bpf_sock_addr, hook: u32) -> Option<i32> {
    // SAFETY: the kernel hands a valid context to the program. The field is in network byte order: its bytes in memory
    // are the address.
    let address = unsafe { (&raw const (*ctx).user_ip4).read_volatile() }.to_ne_bytes();
    call(ctx, hook, Address::v4(address), false)
}

/// A call on an IPv6 socket: the program's answer if it is hit.
#[inline(always)]
pub fn ipv6(ctx: *mut bpf_sock_addr, hook: u32) -> Option<i32> {
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
    call(ctx, hook, Address::unmapped(words), true)
}

/// `in_ipv6`: the address stands there in the form of IPv6.
#[inline(always)]
fn call(ctx: *mut bpf_sock_addr, hook: u32, peer: Address, in_ipv6: bool) -> Option<i32> {
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
    let found = select::of_call(scope, hook, &peer, protocol, port)?;
    let subject = Subject { found, cgroup: kern::current_cgroup(), of: 0, new: false, ends: false };
    let verdict = judge::judge(&subject).verdict()?;
    // A denial by another program or policy stays as it is: we never change its errno, nor claim it as ours.
    if kern::earlier_verdict() != 0 {
        verdict.skipped(Skip::Denied);
        return None;
    }
    let Some(answer) = effect(ctx, verdict.rule, &peer, in_ipv6) else {
        verdict.skipped(Skip::Failed);
        return None;
    };
    verdict.injected(&SockAddrContext::new(ctx));
    Some(answer)
}

/// What the rule does to the call: the program's answer. `None`: it could not be done.
#[inline(always)]
fn effect(ctx: *mut bpf_sock_addr, rule: &Rule, peer: &Address, in_ipv6: bool) -> Option<i32> {
    if rule.action == action::ERRNO {
        return connect::fail(rule.errno);
    }
    let form = match (in_ipv6, peer.v6) {
        (false, _) => Form::V4,
        (true, false) => Form::Mapped,
        (true, true) => Form::V6,
    };
    if kern::uses(1 << action::REDIRECT)
        && rule.action == action::REDIRECT
        && connect::go_elsewhere(ctx, &rule.numbers, form)
    {
        return Some(connect::GO_ON);
    }
    None
}
