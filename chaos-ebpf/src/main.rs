//! The kernel side of kchaos. No logic here: [`entry`] holds one short file per hook, [`lib`](crate::lib) what they
//! share, [`fault`] one file per kind of effect, [`maps`] everything that user space fills or reads.
//!
//! What must stay true in every program: no path that can panic (the verifier refuses it), IPv4 and IPv6 both
//! handled, and a packet or call that no rule matches leaves exactly as it came.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the kernel widens 8- and 16-bit fields to 32 bits, and numbers of one side are signed on the other; a checked \
              conversion is a panic path"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "aya's macros call the programs with the context by value"
)]
#![expect(
    special_module_name,
    reason = "the folder is called lib; a binary has no library target to mix it up with"
)]
// BPF inline assembly is how an atomic add is written without asking for its old value, which old kernels cannot give.
#![feature(asm_experimental_arch)]

mod entry;
mod fault;
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
