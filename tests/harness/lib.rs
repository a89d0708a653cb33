//! What the tests share: a network namespace and cgroups of their own, real servers, and the `kchaos` binary under test.
//!
//! Everything made here is unmade when dropped. Tests on the kernel run one at a time ([`serial`]), because they compare
//! the kernel's own lists of programs and links before and after.

pub mod cgroup;
pub mod kchaos;
pub mod kernel;
pub mod netns;
pub mod redis;
pub mod traffic;

use std::{
    fs::File,
    path::PathBuf,
    time::{Duration, Instant},
};

pub use cgroup::Cgroup;
pub use kchaos::{Kchaos, kchaos};
pub use netns::NetNs;

/// Lets one test at a time use the kernel, whichever process it runs in.
pub fn serial() -> File {
    let path = std::env::temp_dir().join("kchaos-tests.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.lock().unwrap();
    file
}

/// The boot clock, as the kernel programs read it, in nanoseconds.
pub fn boot_ns() -> u64 {
    chaos_daemon::engine::boot_ns()
}

/// Waits until `what` holds; panics with `name` if it does not within `limit`.
pub fn wait_for(name: &str, limit: Duration, mut what: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < limit, "{name}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The helper program that acts as a target.
pub fn kct() -> PathBuf {
    // Beside this test's own executable, one folder up: target/PROFILE/deps/host-123 and target/PROFILE/kct.
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("kct")
}

/// Whether `asked` lies in the 99.9 % interval of a count, with the numbers if not.
pub fn assert_share(what: &str, asked: f64, hits: u64, draws: u64) {
    let (low, high) =
        chaos_daemon::engine::interval(hits, draws).unwrap_or_else(|| panic!("{what}: no draws"));
    assert!(
        low <= asked && asked <= high,
        "{what}: {hits} of {draws} is {:.4}, its 99.9 % interval {low:.4} to {high:.4} does not hold {asked}",
        hits as f64 / draws as f64
    );
}
