//! Tests that must fail: they show that a failure is seen, on every kernel and by whatever runs the suite. They are the
//! whole suite with `KCHAOS_BROKEN`, and no part of it without.

use std::{fs, thread};

kchaos_tests::tests! {
    needs(): program, assertion;
    needs(together): beside_others;
}

// Nothing comes after these: run only when asked for by `--exact`.
kchaos_tests::tests! {
    BY_NAME:
    needs(guest): panic_the_kernel;
    needs(): hangs;
}

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// A program that ends without an answer: no verifier has ever accepted that.
fn program() {
    const BPF_PROG_LOAD: libc::c_long = 5;
    const SCHED_CLS: u32 = 3;
    const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];
    let mut log = vec![0u8; 4096];
    let attributes = Load {
        kind: SCHED_CLS,
        instruction_count: 1,
        instructions: EXIT.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 1,
        log_size: 4096,
        log: log.as_mut_ptr() as u64,
    };
    // SAFETY: all that the attributes point to lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) };
    let error = std::io::Error::last_os_error();
    let log = String::from_utf8_lossy(&log);
    assert!(fd >= 0, "the verifier refuses the program: {error}: {}", log.trim_end_matches('\0').trim());
}

fn assertion() {
    assert_eq!(4, 2 + 1, "this one is wrong on purpose");
}

fn beside_others() {
    assert_eq!(4, 2 + 1, "this one is wrong on purpose, in a process of its own");
}

fn panic_the_kernel() {
    fs::write("/proc/sysrq-trigger", "c").unwrap();
}

fn hangs() {
    loop {
        thread::park();
    }
}
