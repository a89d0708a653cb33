//! The real programs, armed, for packets of our own: nothing is attached.

use std::collections::BTreeMap;

use chaos_daemon::{
    bpf::{Need, Object},
    config,
    engine::{Half, Tables, boot_ns},
    guard::protected::Protected,
};

/// Programs that would hit whatever the root cgroup and all below it send.
pub struct Programs {
    /// The loaded object.
    pub object: Object,
    /// What it was filled with.
    pub tables: Tables,
}

/// The root of the cgroup hierarchy: every socket is in it or below.
pub const ROOT: u64 = 1;

impl Programs {
    /// Compiles an experiment of the whole host, in `mode`, and arms the programs for it. `tag` marks packets as
    /// judged; 0 lets the same packet be judged again and again. `cgroup` is the target's, at depth 0.
    pub fn armed(mode: &str, faults: &str, needs: &[Need], tag: u32, cgroup: u64) -> Self {
        let text =
            format!("duration = \"10m\"\nseed = 1\nmode = \"{mode}\"\n[target]\nhost = true\n{faults}");
        let experiment = config::parse("test", &text, "test").unwrap();
        let half = Half::FIRST;
        let mut tables =
            Tables::compile(&experiment, &BTreeMap::default(), &Protected::default(), 1, half).unwrap();
        tables.scope.tag = tag;
        let mut object = Object::load(needs, tables.size().with_room(), tables.uses()).unwrap();
        object.fill(&tables).unwrap();
        object.aim(cgroup, 0).unwrap();
        object.arm(&tables, boot_ns(), u64::MAX).unwrap();
        Self { object, tables }
    }
}
