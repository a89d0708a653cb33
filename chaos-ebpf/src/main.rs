//! The kernel side of kchaos. No logic here: [`entry`] holds one short file per hook, [`lib`](crate::lib) what they
//! share, [`fault`] one file per kind of effect, [`maps`] everything that user space fills or reads.
//!
//! What must stay true in every program: no path that can panic (the verifier refuses it), IPv4 and IPv6 both
//! handled, and a packet or call that no rule matches leaves exactly as it came.
#![no_std]
#![no_main]
// BPF inline assembly is how an atomic add is written without asking for its old value, which old kernels cannot give.
#![feature(asm_experimental_arch)]

mod entry;
mod fault;
#[expect(
    special_module_name,
    reason = "the design names this folder lib; the crate is a binary and has no library target"
)]
mod lib;
mod maps;

/// Some helpers are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Never linked in: a program that can reach this is refused by the verifier.
    loop {}
}
