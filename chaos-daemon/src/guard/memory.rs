//! Memory of a process whose threads come and go.
//!
//! The C library gives threads heaps of their own (arenas), and keeps what they free: a daemon that has run many experiments
//! at once would hold on to all of it.

/// One heap for all threads. Before there is a second one.
pub fn share() {
    // SAFETY: no pointers; at the worst it is refused, and nothing changes.
    let taken = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    if taken == 0 {
        tracing::debug!("every thread keeps a heap of its own");
    }
}

/// Gives what is free back to the kernel.
pub fn give_back() {
    // SAFETY: no pointers; pages that nobody uses go.
    unsafe {
        libc::malloc_trim(0);
    }
}
