//! What the tests share: a network namespace and cgroups of their own, real servers, and the `kchaos` binary under
//! test.
//!
//! Everything made here is unmade when dropped. Tests on the kernel are one [`suite`] and run one at a time
//! ([`serial`]), because they compare the kernel's own lists of programs and links before and after.
//!
//! The same tests run on machines of very different speed. What depends on it is said here and nowhere else: limits are
//! multiplied by [`slow`], counts divided by it ([`scaled`]).

pub mod browser;
pub mod caller;
pub mod cgroup;
pub mod client;
pub mod clock;
pub mod connection;
pub mod containerd;
pub mod daemon;
pub mod kchaos;
pub mod kernel;
pub mod netns;
pub mod nginx;
pub mod postgres;
pub mod programs;
pub mod prometheus;
pub mod rabbitmq;
pub mod redis;
pub mod replacing;
pub mod spread;
pub mod statistics;
pub mod suite;
pub mod traffic;
pub mod unit;

use std::{
    env,
    fs::File,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

pub use cgroup::Cgroup;
pub use kchaos::{Kchaos, kchaos};
pub use netns::NetNs;

/// Lets one test at a time use the kernel, whichever process it runs in.
pub fn serial() -> File {
    let path = env::temp_dir().join("kchaos-tests.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
    file.lock().unwrap();
    file
}

/// The boot clock, as the kernel programs read it, in nanoseconds.
pub fn boot_ns() -> u64 {
    chaos_daemon::engine::boot_ns()
}

/// How much slower than an ordinary machine this one is, at most: `KCHAOS_SLOW`, or 1.
pub fn slow() -> u32 {
    env::var("KCHAOS_SLOW").map_or(1, |text| match text.parse() {
        Ok(factor @ 1..) => factor,
        _ => panic!("KCHAOS_SLOW={text} is not a whole number from 1 on"),
    })
}

/// So many draws or packets on an ordinary machine, fewer on a slow one. What is expected of them must follow from the
/// number that this returns.
pub fn scaled(count: u64) -> u64 {
    (count / u64::from(slow())).max(1)
}

/// Waits until `what` holds; panics with `name` if it does not within `limit`, or a slow machine's multiple of it.
pub fn wait_for(name: &str, limit: Duration, mut what: impl FnMut() -> bool) {
    let limit = limit * slow();
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < limit, "{name}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The helper program that acts as a target: `KCHAOS_KCT`, or the one beside this program, or one folder up (cargo has
/// target/PROFILE/deps/host-123 and target/PROFILE/kct).
pub fn kct() -> PathBuf {
    if let Some(path) = env::var_os("KCHAOS_KCT") {
        return path.into();
    }
    let own = env::current_exe().unwrap();
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join("kct")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no kct near {}: KCHAOS_KCT names it", own.display()))
}

/// Makes the process that `command` starts end with the thread that starts it, even if that is killed.
pub fn ends_with_us(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

/// Expects that `asked` lies in the 99.9 % interval of a count, or near it.
pub fn assert_share(what: &str, asked: f64, hits: u64, draws: u64) {
    let interval = chaos_daemon::engine::interval(hits, draws).unwrap_or_else(|| panic!("{what}: no draws"));
    assert_holds(&format!("{what}: {hits} of {draws}"), asked, hits as f64 / draws as f64, interval);
}

/// The suite looks at a hundred shares on each of five places, and which draws are made depends on the CPU that a packet
/// comes by on, so no seed makes them the same: at 99.9 % two runs of five would fail for nothing. Half as wide again,
/// the interval is one of 4.9 standard deviations, and one look in a million is outside.
pub fn assert_holds(what: &str, asked: f64, share: f64, (low, high): (f64, f64)) {
    let (wide_low, wide_high) = (low - (share - low) / 2.0, high + (high - share) / 2.0);
    assert!(
        wide_low <= asked && asked <= wide_high,
        "{what} is {share:.4}, and {asked} is far outside of its 99.9 % interval {low:.4} to {high:.4}"
    );
}
