//! The kernel's own lists: what is loaded and attached, and what must stay as it was.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
};

use aya::{
    maps::{Array, Map, MapData, loaded_maps},
    programs::{loaded_links, loaded_programs},
};
use chaos_common::{control, rule::Rule, scope::Scope};

/// Everything that an injector could leave behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Lists {
    programs: Vec<String>,
    maps: Vec<String>,
    links: usize,
    tc: String,
    devices: String,
    sysctls: BTreeMap<String, String>,
    cgroups: Vec<String>,
}

/// The lists as they are now, for the network namespace that `enter` runs things in.
pub fn lists(ns: &crate::NetNs) -> Lists {
    let tool = |words: &str| ns.output(words);
    let mut tc = tool("tc qdisc show");
    for device in fs::read_to_string("/proc/self/net/dev").map(|_| devices(ns)).unwrap() {
        for hook in ["egress", "ingress"] {
            tc += &tool(&format!("tc filter show dev {device} {hook}"));
        }
    }
    Lists {
        programs: named("prog", loaded_programs().flatten().map(|p| (p.id(), p.name_as_str().unwrap_or("").to_owned()))),
        maps: named("map", loaded_maps().flatten().map(|m| (m.id(), m.name_as_str().unwrap_or("").to_owned()))),
        links: loaded_links().flatten().count(),
        tc,
        devices: tool("ip -o link show"),
        sysctls: ns.enter(sysctls),
        cgroups: cgroups(),
    }
}

fn devices(ns: &crate::NetNs) -> Vec<String> {
    ns.ip("-o link show")
        .lines()
        .filter_map(|l| l.split(": ").nth(1))
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

fn named(what: &str, found: impl Iterator<Item = (u32, String)>) -> Vec<String> {
    found.map(|(id, name)| format!("{what} {id} {name}")).collect()
}

/// All readable settings of the network.
fn sysctls() -> BTreeMap<String, String> {
    fn walk(dir: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if let Ok(value) = fs::read_to_string(&path) {
                found.insert(path.display().to_string(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    // Of the thread, which is in the namespace; /proc/sys/net follows it.
    walk(Path::new("/proc/sys/net"), &mut found);
    // These count or draw and change by themselves.
    found.retain(|name, _| !["random", "nf_conntrack_count", "route/gc"].iter().any(|n| name.contains(n)));
    found
}

fn cgroups() -> Vec<String> {
    let mount = chaos_daemon::target::Hierarchy::find().unwrap().mount().to_owned();
    let mut names: Vec<String> =
        fs::read_dir(mount).unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn maps(name: &str) -> Vec<MapData> {
    let ids: Vec<u32> =
        loaded_maps().flatten().filter(|m| m.name_as_str() == Some(name)).map(|m| m.id()).collect();
    ids.into_iter().filter_map(|id| MapData::from_id(id).ok()).collect()
}

/// How many experiments on this host are armed.
pub fn armed() -> usize {
    maps("KCHAOS_SCOPE")
        .into_iter()
        .filter_map(|data| Array::<_, Scope>::try_from(Map::Array(data)).ok()?.get(&0, 0).ok())
        .filter(|scope| scope.rules > 0)
        .count()
}

/// The deadline of the first rule of the one experiment that runs, in boot time.
pub fn deadline_ns() -> u64 {
    let mut found = maps("KCHAOS_RULES");
    assert_eq!(1, found.len(), "experiments");
    Array::<_, Rule>::try_from(Map::Array(found.remove(0))).unwrap().get(&0, 0).unwrap().deadline_ns
}

/// The lease of the one experiment that runs, in boot time.
pub fn lease_ns() -> u64 {
    let mut found = maps(control::MAP_NAME);
    assert_eq!(1, found.len(), "experiments");
    Array::<_, u64>::try_from(Map::Array(found.remove(0))).unwrap().get(&control::SLOT_LEASE, 0).unwrap()
}

/// How many of our programs the kernel holds.
pub fn our_programs() -> usize {
    loaded_programs().flatten().filter(|p| p.name_as_str().is_some_and(|n| n.starts_with("kchaos_"))).count()
}

/// Whether a program is installed.
pub fn installed(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|o| o.status.success())
}
