//! `connect`: the call fails with the errno that the rule names, or goes to another far end.

use aya_ebpf::{bindings::bpf_sock_addr, helpers::generated::bpf_set_retval};
use chaos_common::redirect::{self, Part, V4, V6};

use crate::lib::kern;

/// A program's answer: the call goes on, to the far end that stands in its context now.
pub const GO_ON: i32 = 1;

/// Makes the current call fail with `errno` (1..=133). `None`: the kernel would not take the errno.
///
/// Without a return value of its own a denied call fails with EPERM, which is also all that kernels before 5.18 can do.
#[inline(always)]
pub fn fail(errno: u32) -> Option<i32> {
    const DENY: i32 = 0;
    const EPERM: u32 = 1;
    const MAX_ERRNO: u32 = 4095;
    // Linux 7.2 wants it proven that the value is an errno.
    if errno == 0 || errno > MAX_ERRNO {
        return None;
    }
    if errno == EPERM {
        return Some(DENY);
    }
    if !kern::sets_retval() {
        return None;
    }
    // SAFETY: a plain helper call.
    let refused = unsafe { bpf_set_retval(-(errno as i32)) };
    if refused == 0 { Some(DENY) } else { None }
}

/// Which address stands in the context of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// That of an IPv4 call.
    V4,
    /// That of an IPv6 call.
    V6,
    /// An IPv4 address in the form of IPv6 (`::ffff:a.b.c.d`).
    Mapped,
}

/// Sends the current call to the far end that the rule names, before the kernel looks for a route: what it finds in
/// the context when the program is back is where the call goes (`BPF_CGROUP_PRE_CONNECT_ENABLED` in
/// `net/ipv4/af_inet.c`, and behind the programs in `udp_sendmsg` and `udpv6_sendmsg`). `false`: the rule names none of
/// this family, and nothing is changed.
///
/// A call keeps its form. `udpv6_sendmsg` refuses an IPv4-mapped address that was none before, and an IPv4 call has no
/// room for another.
#[inline(always)]
pub fn go_elsewhere(ctx: *mut bpf_sock_addr, numbers: &[u64; 4], form: Form) -> bool {
    let way = Part(if form == Form::V6 { numbers[V6] } else { numbers[V4] });
    if !way.applies() {
        return false;
    }
    if way.has_address() {
        // SAFETY: the kernel hands a valid context to the program, and lets these fields be written by programs of this
        // family, 32 bits at a time. Volatile: stores must not be merged into wider ones.
        unsafe {
            let ip6 = (&raw mut (*ctx).user_ip6).cast::<u32>();
            match form {
                Form::V4 => (&raw mut (*ctx).user_ip4).write_volatile(way.address()),
                Form::Mapped => ip6.add(3).write_volatile(way.address()),
                Form::V6 => {
                    ip6.write_volatile(redirect::word6(numbers, 0));
                    ip6.add(1).write_volatile(redirect::word6(numbers, 1));
                    ip6.add(2).write_volatile(redirect::word6(numbers, 2));
                    ip6.add(3).write_volatile(redirect::word6(numbers, 3));
                }
            }
        }
    }
    let port = way.port();
    if port != 0 {
        // SAFETY: as above. The port is in network byte order, in the lower half.
        unsafe { (&raw mut (*ctx).user_port).write_volatile(u32::from(port.to_be())) };
    }
    true
}
