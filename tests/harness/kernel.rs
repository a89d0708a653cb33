//! The kernel's own lists: what is loaded and attached, and what must stay as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    time::Duration,
};

use aya::{
    maps::{Array, HashMap, Map, MapData, loaded_maps},
    programs::{loaded_links, loaded_programs},
};
use chaos_common::{control, rule::Rule, scope::Scope};

use crate::{
    NetNs, ends_with_us,
    suite::{Feature, Level, facts},
    wait_for,
};

/// What a network namespace holds that an injector could change or leave behind: tc, devices, routes and settings,
/// line by line in the order of the kernel.
#[derive(Debug)]
pub struct Lists(Vec<String>);

impl Lists {
    /// What is here and not in `other`.
    fn without(&self, other: &Self) -> Vec<&str> {
        let mut rest: Vec<&str> = self.0.iter().map(String::as_str).collect();
        for line in &other.0 {
            if let Some(at) = rest.iter().position(|l| l == line) {
                rest.remove(at);
            }
        }
        rest
    }

    /// Expects that everything is as it was `before`.
    pub fn assert_as(&self, before: &Self, when: &str) {
        if self.0 == before.0 {
            return;
        }
        let (gone, added) = (before.without(self), self.without(before));
        assert!(gone.is_empty() && added.is_empty(), "{when}: gone {gone:#?}, added {added:#?}");
        panic!("{when}: in another order: {:#?} is now {:#?}", before.0, self.0);
    }

    /// Expects that nothing has changed since `before` but for a delay line: its device, filters of ours, and the two
    /// settings of lo.
    pub fn assert_only_a_line_added(&self, before: &Self) {
        let (gone, added) = (before.without(self), self.without(before));
        let setting =
            |line: &&str| ["lo/route_localnet", "lo/accept_local"].iter().any(|name| line.contains(name));
        let of_line = |line: &&str| {
            line.contains("kchaos")
                || line.starts_with("qdisc clsact ")
                || line.starts_with("filter protocol all pref ")
                || setting(line)
        };
        // A device has lines of its own in the list of devices, behind the first.
        let details = |line: &&str| {
            line.trim_start().starts_with("link/ether")
                || line.contains("tun type tap")
                || line.contains("veth ")
        };
        assert!(gone.iter().all(setting), "gone {gone:#?}");
        assert!(added.iter().all(|line| of_line(line) || details(line)), "added {added:#?}");
        assert!(added.iter().any(|line| line.contains("kchaos")), "no line");
    }

    /// Expects that nothing was taken away or changed since `before`, and that what was added is ours: filters, the
    /// heads of their priorities, and a clsact qdisc under them.
    pub fn assert_only_ours_added(&self, before: &Self) {
        let (gone, added) = (before.without(self), self.without(before));
        let ours = |line: &&str| {
            [" kchaos_egress ", " kchaos_arrival "].iter().any(|name| line.contains(name))
                || line.starts_with("qdisc clsact ")
                || line.starts_with("filter protocol all pref ") && line.trim_end().ends_with(" bpf chain 0")
        };
        assert!(gone.is_empty() && added.iter().all(ours), "gone {gone:#?}, added {added:#?}");
        assert!(added.iter().any(|line| line.contains(" kchaos_egress ")), "no filter of ours");
    }
}

/// The lists as they are now.
pub fn lists(ns: &NetNs) -> Lists {
    let mut text = ns.output("tc qdisc show");
    for device in devices(ns) {
        for hook in ["egress", "ingress"] {
            text += &ns.output(&format!("tc filter show dev {device} {hook}"));
        }
    }
    for words in ["-d -o link show", "route show table all", "-6 route show table all"] {
        text += &ns.ip(words);
    }
    let sysctls = ns.enter(sysctls);
    let sysctls = sysctls.into_iter().map(|(name, value)| format!("{name} = {}", value.trim_end()));
    Lists(text.lines().map(str::to_owned).chain(sysctls).collect())
}

/// The programs, maps and links that a process holds, by the kernel's ids.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Programs.
    pub programs: BTreeSet<u32>,
    /// Maps.
    pub maps: BTreeSet<u32>,
    /// Links.
    pub links: BTreeSet<u32>,
}

impl Held {
    /// What the process `pid` holds now.
    pub fn by(pid: u32) -> Self {
        let mut held = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let id = |key: &str| text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<u32>().ok());
            // A link names its program, too.
            match (id("link_id:"), id("prog_id:"), id("map_id:")) {
                (Some(link), ..) => held.links.insert(link),
                (_, Some(program), _) => held.programs.insert(program),
                (.., Some(map)) => held.maps.insert(map),
                _ => false,
            };
        }
        held
    }

    /// Which of them the kernel still lists.
    pub fn alive(&self) -> Self {
        let of =
            |ids: &BTreeSet<u32>, listed: Vec<u32>| listed.into_iter().filter(|i| ids.contains(i)).collect();
        Self {
            programs: of(&self.programs, loaded_programs().flatten().map(|p| p.id()).collect()),
            maps: of(&self.maps, loaded_maps().flatten().map(|m| m.id()).collect()),
            links: of(&self.links, loaded_links().flatten().map(|l| l.id()).collect()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }

    fn map(&self, name: &str) -> Option<MapData> {
        let ids: Vec<u32> = loaded_maps()
            .flatten()
            .filter(|m| self.maps.contains(&m.id()) && m.name_as_str() == Some(name))
            .map(|m| m.id())
            .collect();
        ids.into_iter().find_map(|id| MapData::from_id(id).ok())
    }

    /// Whether the experiment is armed. Before it has programs, or all maps of its own if it never has any, a kchaos that
    /// starts looks at the maps of others, and holds one of them for that moment.
    pub fn armed(&self) -> bool {
        const MAPS_OF_ITS_OWN: usize = 10;
        if self.programs.is_empty() && self.maps.len() < MAPS_OF_ITS_OWN {
            return false;
        }
        let scope = |map| Array::<_, Scope>::try_from(Map::Array(map)).ok()?.get(&0, 0).ok();
        self.map("KCHAOS_SCOPE").and_then(scope).is_some_and(|scope| scope.rules > 0)
    }

    /// The deadline of the first rule, in boot time.
    pub fn deadline_ns(&self) -> u64 {
        let rules = Map::Array(self.map("KCHAOS_RULES").unwrap());
        Array::<_, Rule>::try_from(rules).unwrap().get(&0, 0).unwrap().deadline_ns
    }

    /// Whether a cgroup below the target is left alone.
    pub fn protects(&self, cgroup_id: u64) -> bool {
        let protected = Map::HashMap(self.map("KCHAOS_PROTECT").unwrap());
        HashMap::<_, u64, u32>::try_from(protected).unwrap().get(&cgroup_id, 0).is_ok()
    }

    /// The lease, in boot time.
    pub fn lease_ns(&self) -> u64 {
        let slots = Array::<_, u64>::try_from(Map::Array(self.map(control::MAP_NAME).unwrap())).unwrap();
        slots.get(&control::SLOT_LEASE, 0).unwrap()
    }
}

/// Whether packets are reached by links, which die with kchaos, and not by filters, which a killed kchaos leaves
/// behind.
pub fn has_tcx() -> bool {
    facts().level(Feature::TcEgress) == Level::Yes
}

/// What a killed kchaos held in a network namespace is gone: at once where there are links only, and after `kchaos
/// clean` where there are not.
pub fn assert_gone_after_kill(ns: &NetNs, held: &Held) {
    if !has_tcx() {
        // Namespaces are found by the processes in them; those of the target may be killed before.
        let mut resident = Command::new("sleep");
        resident.arg("600");
        ends_with_us(&mut resident);
        ns.place(&mut resident);
        let mut resident = resident.spawn().unwrap();
        let cleaned = crate::kchaos::run(&["clean"]);
        assert_eq!(Some(0), cleaned.code, "{cleaned:?}");
        let _killed = resident.kill();
        let _reaped = resident.wait();
    }
    wait_for("programs, maps and links are gone", Duration::from_secs(5), || held.alive().is_empty());
}

/// The cgroups that the process `pid` made and that are still there.
pub fn cgroups_of(pid: u32) -> Vec<String> {
    let mount = chaos_daemon::target::Hierarchy::find().unwrap().mount().to_owned();
    let own = |name: &str| name == format!("kchaos-{pid}") || name.starts_with(&format!("kchaos-{pid}-"));
    fs::read_dir(mount)
        .unwrap()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| own(name))
        .collect()
}

fn devices(ns: &NetNs) -> Vec<String> {
    ns.ip("-o link show")
        .lines()
        .filter_map(|l| l.split(": ").nth(1))
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
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
