//! configs/memory-pressure.toml: a desk whose cgroup holds caches, which the kernel takes back, and one whose cgroup holds
//! data, which it cannot take back: that one gets slower than anybody waits.

use std::{path::Path, time::Duration};

use kchaos_tests::{Cgroup, kchaos::Ended, wait_for};

use super::{NEIGHBOUR, Place, Running, SERVICE, SOON, Scenario, assert_falsified, assert_held, assert_well};
use crate::{resources::Running as Process, resources_limits::Disk};

kchaos_tests::tests! {
    needs(together, controllers, servers): memory_that_is_short;
}

const FILE: &str = include_str!("../../../configs/memory-pressure.toml");

/// MiB, many more than the rest of the service takes.
const HELD: u64 = 32;

/// Without its stop condition where the kernel measures no pressure, as in our guests.
fn shipped() -> Scenario {
    if Path::new("/proc/pressure/memory").exists() {
        return Scenario::shipped(FILE).with("for = \"20s\"", "for = \"9s\"");
    }
    let (rest, stop) = FILE.split_once("[[stop]]").unwrap();
    assert!(stop.contains("pressure = ") && !stop.contains("[["), "{stop}");
    Scenario::shipped(rest)
}

/// One after the other: there is one disk.
fn memory_that_is_short() {
    let disk = Disk::new(HELD);
    assert_held(&squeezed(&["disk", disk.path()]));
    assert_falsified(&squeezed(&["fill", &HELD.to_string()]));
}

/// `holds`: what has the memory of the service.
fn squeezed(holds: &[&str]) -> Ended {
    let place = Place { target: Cgroup::controlled("target"), ..Place::new() };
    let _memory = Process::start(&place.target, holds);
    let in_use = || place.target.read("memory.current").parse::<u64>().unwrap();
    wait_for("it holds its memory", 2 * SOON, || in_use() > HELD << 20);
    let desk = |cgroup, port| -> Running { place.start(cgroup, port, "desk", &["exec true"]) };
    let (_neighbour, _desk) = (desk(&place.other, NEIGHBOUR), desk(&place.target, SERVICE));

    // The same time on slow machines: it is the kernel that makes them wait.
    let scenario = shipped().on(&place.target).with("duration = \"2m\"", "duration = \"10s\"");
    let ended = scenario.run(&place);
    assert_eq!("max", place.target.read("memory.high"));
    assert_eq!(0, place.target.number("memory.events", "oom_kill"), "none of it is killed");
    std::thread::sleep(Duration::from_millis(100));
    assert_well(&place, "/");
    ended
}
