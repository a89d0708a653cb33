//! Faults that hold limits of a cgroup: they bite, and what was found comes back.

use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use kchaos_tests::{Cgroup, Kchaos, NetNs, kchaos::run, suite::note, wait_for};
use nix::sys::signal::Signal;

use crate::{resources::Running, resources_ends::kill_with_keeper};

kchaos_tests::tests! {
    needs(controllers): a_quota_is_kept;
    needs(spread, controllers): a_quota_never_gives_more, what_somebody_else_wrote_stays,
        after_kills_a_limit_is_what_it_was, two_limits_of_one_cgroup;
    needs(spread, controllers, guest): a_squeeze_takes_memory_back, what_does_not_fit_is_killed, a_disk_is_slow;
}

const SOON: Duration = Duration::from_secs(2);

/// CPUs that a cgroup uses, looked at for so long.
fn cpus(cgroup: &Cgroup, time: Duration) -> f64 {
    let used = || cgroup.number("cpu.stat", "usage_usec") as f64 / 1e6;
    let (before, begun) = (used(), Instant::now());
    thread::sleep(time);
    (used() - before) / begun.elapsed().as_secs_f64()
}

fn a_quota_is_kept() {
    let (ns, target) = (NetNs::new(), Cgroup::controlled("target"));
    let found = target.read("cpu.max");
    let _burns = Running::start(&target, &["burn"]);
    let before = cpus(&target, SOON);
    let kchaos = Kchaos::inject(&ns, "cpu", &target, &["--quota", "20%"]);
    wait_for("it is held", SOON, || target.read("cpu.max") == "20000 100000");
    let during = cpus(&target, 2 * SOON);
    let ended = kchaos.stop();
    assert_eq!(found, target.read("cpu.max"));
    let after = cpus(&target, SOON);
    note(&format!("cpu: {before:.2}, {during:.2} of 0.20, {after:.2}"));
    assert!((0.10..=0.24).contains(&during), "{during}");
    assert!(before > 2.0 * during && after > 2.0 * during, "{before} {during} {after}");
    assert_eq!((1, 1), (ended.count(0, "matched"), ended.count(0, "injected")), "{ended:?}");
}

fn a_quota_never_gives_more() {
    let (ns, target) = (NetNs::new(), Cgroup::controlled("target"));
    target.write("cpu.max", "10000 100000");
    let kchaos = Kchaos::inject(&ns, "cpu", &target, &["--quota", "20%"]);
    thread::sleep(Duration::from_millis(500));
    assert_eq!("10000 100000", target.read("cpu.max"));
    let ended = kchaos.stop();
    assert_eq!((1, 1), (ended.count(0, "matched"), ended.skipped(0, "failed")), "{ended:?}");
    assert!(ended.stdout.contains("no more already"), "{ended:?}");
}

fn what_somebody_else_wrote_stays() {
    let (ns, target) = (NetNs::new(), Cgroup::controlled("target"));
    let kchaos = Kchaos::inject(&ns, "cpu", &target, &["--quota", "20%"]);
    wait_for("it is held", SOON, || target.read("cpu.max") == "20000 100000");
    target.write("cpu.max", "70000 100000");
    let ended = kchaos.stop();
    assert_eq!("70000 100000", target.read("cpu.max"));
    assert!(ended.json()["notes"].to_string().contains("by somebody else"), "{ended:?}");
}

/// Of kchaos, with its keeper alive; and of both.
fn after_kills_a_limit_is_what_it_was() {
    let (ns, target) = (NetNs::new(), Cgroup::controlled("target"));
    target.write("cpu.max", "90000 100000");
    let kchaos = Kchaos::inject(&ns, "cpu", &target, &["--quota", "20%"]);
    wait_for("it is held", SOON, || target.read("cpu.max") == "20000 100000");
    kchaos.signal(Signal::SIGKILL);
    wait_for("it is back", SOON, || target.read("cpu.max") == "90000 100000");
    drop(kchaos);

    let kchaos = Kchaos::inject(&ns, "cpu", &target, &["--quota", "20%"]);
    wait_for("it is held again", SOON, || target.read("cpu.max") == "20000 100000");
    kill_with_keeper(kchaos);
    assert_eq!("20000 100000", target.read("cpu.max"), "there was nobody to put it back");
    let cleaned = run(&["clean"]);
    assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
    assert_eq!("90000 100000", target.read("cpu.max"));
}

/// One experiment, two kinds: each has files of its own.
fn two_limits_of_one_cgroup() {
    let (ns, target) = (NetNs::new(), Cgroup::controlled("target"));
    let _waits = Running::start(&target, &["wait"]);
    wait_for("it runs", SOON, || target.pids().len() == 1);
    let found = ["cpu.max", "memory.high"].map(|file| target.read(file));
    let faults = ["kind = \"cpu\"\nquota = \"50%\"", "kind = \"memory\"\nto = \"90%\""];
    let kchaos = Kchaos::run(&ns, &target, &faults.map(ToOwned::to_owned));
    wait_for("both are held", SOON, || {
        target.read("cpu.max") == "50000 100000" && target.read("memory.high") != "max"
    });
    drop(kchaos.stop());
    assert_eq!(found, ["cpu.max", "memory.high"].map(|file| target.read(file)));
}

/// A disk of so many MiB, behind a file in memory.
pub struct Disk {
    device: File,
    path: String,
    _file: tempfile::NamedTempFile,
}

const LOOP_SET_FD: libc::c_ulong = 0x4c00;
const LOOP_CLR_FD: libc::c_ulong = 0x4c01;

impl Disk {
    /// A new one, which is full of data.
    pub fn new(mib: u64) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![7; usize::try_from(mib << 20).unwrap()]).unwrap();
        let path = "/dev/loop0".to_owned();
        let device = File::options().read(true).write(true).open(&path).unwrap();
        // SAFETY: both descriptors are open.
        let made = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD as _, file.as_file().as_raw_fd()) };
        assert_eq!(0, made, "{}", std::io::Error::last_os_error());
        Self { device, path, _file: file }
    }

    /// Its device.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: the descriptor is open.
        unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_CLR_FD as _, 0) };
    }
}

fn in_use(cgroup: &Cgroup) -> u64 {
    cgroup.read("memory.current").parse().unwrap()
}

fn a_squeeze_takes_memory_back() {
    const MIB: u64 = 32;
    let (ns, target, disk) = (NetNs::new(), Cgroup::controlled("target"), Disk::new(MIB));
    let reader = Running::start(&target, &["disk", &disk.path]);
    wait_for("the disk is in the caches of its reader", 10 * SOON, || in_use(&target) > MIB << 20);
    let before = in_use(&target);
    let kchaos = Kchaos::inject(&ns, "memory", &target, &["--to", "50%"]);
    wait_for("it is held", SOON, || target.read("memory.high") != "max");
    let held: u64 = target.read("memory.high").parse().unwrap();
    assert!(held.abs_diff(before / 2) < 4 << 20, "{held} of {before}");
    // The kernel takes back in batches, and counts on each CPU for a while.
    wait_for("memory is taken back", 5 * SOON, || in_use(&target) < held + (2 << 20));
    let during = in_use(&target);
    let ended = kchaos.stop();
    assert_eq!("max", target.read("memory.high"));
    note(&format!("memory: {before} in use, squeezed to {held}, {during} then"));
    wait_for("the caches fill again", 10 * SOON, || in_use(&target) > MIB << 20);
    assert_eq!(1, ended.count(0, "injected"), "{ended:?}");
    drop(reader);
}

/// What a process has written into its own memory cannot be taken back: there is no swap.
fn what_does_not_fit_is_killed() {
    let (ns, target) = (NetNs::new(), Cgroup::controlled("target"));
    let mut fills = Running::start(&target, &["fill", "32"]);
    wait_for("it has filled its memory", 10 * SOON, || in_use(&target) > 32 << 20);
    let kchaos = Kchaos::inject(&ns, "memory", &target, &["--to", "50%", "--oom"]);
    wait_for("it is killed", 10 * SOON, || !fills.is_alive());
    drop(kchaos.stop());
    assert_eq!(("max".to_owned(), "max".to_owned()), (target.read("memory.high"), target.read("memory.max")));
    assert!(target.number("memory.events", "oom_kill") >= 1);
}

fn a_disk_is_slow() {
    const LIMIT: f64 = 1024.0 * 1024.0;
    let (ns, target, disk) = (NetNs::new(), Cgroup::controlled("target"), Disk::new(16));
    let _reads = Running::start(&target, &["disk", &disk.path, "--direct"]);
    let rate = |time: Duration| {
        let (before, begun) = (bytes_read(&target), Instant::now());
        thread::sleep(time);
        (bytes_read(&target) - before) as f64 / begun.elapsed().as_secs_f64()
    };
    wait_for("it reads", 5 * SOON, || bytes_read(&target) > 0);
    let before = rate(SOON);
    // Twice the same one, as two parts of a disk are.
    let words = ["--read", "1MiB", "--device", &disk.path, "--device", &disk.path];
    let kchaos = Kchaos::inject(&ns, "io", &target, &words);
    wait_for("it is held", SOON, || target.read("io.max").contains("rbps=1048576"));
    thread::sleep(SOON);
    let during = rate(3 * SOON);
    let ended = kchaos.stop();
    assert_eq!("", target.read("io.max"));
    let after = rate(SOON);
    note(&format!("io: {before:.0}, {during:.0} of {LIMIT:.0}, {after:.0} bytes a second"));
    assert!((0.5 * LIMIT..1.3 * LIMIT).contains(&during), "{during}");
    assert!(before > 2.0 * during && after > 2.0 * during, "{before} {during} {after}");
    assert_eq!(1, ended.count(0, "injected"), "{ended:?}");
    let wrong = run(&[
        "inject",
        "io",
        "--for",
        "1s",
        "--read",
        "1MiB",
        "--device",
        "/dev/null",
        "--cgroup",
        target.name(),
    ]);
    assert_eq!(Some(2), wrong.code, "{wrong:?}");
    assert!(wrong.stderr.contains("no block device"), "{wrong:?}");
}

/// By all disks together: there is one.
fn bytes_read(cgroup: &Cgroup) -> u64 {
    let stat = cgroup.read("io.stat");
    stat.split_whitespace().filter_map(|word| word.strip_prefix("rbytes=")?.parse::<u64>().ok()).sum()
}
