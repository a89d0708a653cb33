//! How many instructions a call takes: the processor's clock before and after it, where that clock counts them. It does in
//! guests that QEMU counts for (`-icount shift=0`): there `rdtsc` answers with the number of instructions so far.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::net::UnixDatagram,
    path::Path,
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use crate::board;

/// So many times each; the least counts, as now and then an interrupt comes between.
const TIMES: usize = 1_000;

/// Words of the shared memory: the round that is asked for, the one that is done, and what the call took at least.
const WORDS: usize = 3;

/// Makes a call many times in every round that the file `board` asks for, and writes there what it took at least. By
/// memory, as a process whose reads fail cannot be told by reads.
pub fn run(path: &Path, call: &str) -> ! {
    let board = board::mapped(path, WORDS);
    let mut call = made(call);
    board[1].store(u64::MAX, Ordering::SeqCst);
    let mut round = 0;
    loop {
        let asked = board[0].load(Ordering::SeqCst);
        if asked == round {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        round = asked;
        board[2].store(call(), Ordering::SeqCst);
        board[1].store(round, Ordering::SeqCst);
    }
}

fn made(call: &str) -> Box<dyn FnMut() -> u64> {
    match call {
        "read" => {
            let mut zero = File::open("/dev/zero").unwrap();
            Box::new(move || least(|| zero.read(&mut [0]).is_ok(), || ()))
        }
        "write" => {
            let mut null = File::options().write(true).open("/dev/null").unwrap();
            Box::new(move || least(|| null.write(&[0]).is_ok(), || ()))
        }
        // What is opened is closed, too: for both.
        "open" => Box::new(|| least(|| File::open("/dev/null").is_ok(), || ())),
        "send" => {
            let (near, far) = UnixDatagram::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            let taken = move || {
                let _nothing_came = far.recv(&mut [0]);
            };
            Box::new(move || least(|| near.send(&[0]).is_ok(), &taken))
        }
        _ => panic!("no call {call}"),
    }
}

/// What `call` takes at least, whether it fails or not; `after` is not counted.
fn least(mut call: impl FnMut() -> bool, mut after: impl FnMut()) -> u64 {
    let mut once = || {
        let before = ticks();
        let _whether = std::hint::black_box(call());
        let took = ticks() - before;
        after();
        took
    };
    // Everything is in place from the second on.
    once();
    (0..TIMES).map(|_| once()).min().unwrap()
}

#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: every such processor has it, and nothing is read or written.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> u64 {
    panic!("instructions are counted in guests, and these are x86-64")
}
