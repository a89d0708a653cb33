//! The kernel object: loaded, filled, read.

use std::collections::BTreeMap;

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, lpm_trie::Key},
};
use chaos_common::{ClauseBits, clause_bits, control, counters::Counters, host, rule::Rule, scope::Scope};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{BpfError, Feature, Level, Need, clsact::Filters, feature::forced};
use crate::engine::Tables;

/// The release of the compiler that built the programs; the same source costs the verifier more or less with another.
pub const COMPILER: &str = env!("KCHAOS_BPF_RUSTC");

static IMAGE: &[u8] = aya::include_bytes_aligned!(env!("KCHAOS_BPF_OBJECT"));

pub(super) const SCOPE: &str = "KCHAOS_SCOPE";
const RULES: &str = "KCHAOS_RULES";
const COUNTERS: &str = "KCHAOS_COUNTERS";
const PEER4: &str = "KCHAOS_PEER4";
const PEER6: &str = "KCHAOS_PEER6";
const FAR_PORTS: &str = "KCHAOS_PPORT";
const NEAR_PORTS: &str = "KCHAOS_LPORT";
const PROTECTED: &str = "KCHAOS_PROTECT";

/// The loaded programs and maps. Dropping it detaches and frees all of them.
pub struct Object {
    /// First, as fields are dropped in order: they go before the programs that they run.
    pub(super) filters: Filters,
    pub(super) ebpf: Ebpf,
    pub(super) levels: BTreeMap<Feature, Level>,
    control: Array<MapData, u64>,
    counters: PerCpuArray<MapData, Counters>,
    /// The programs cannot be loaded once this is gone, as their log's map goes with it.
    #[cfg(feature = "kernel-log")]
    logger: aya_log::EbpfLogger<&'static dyn log::Log>,
}

impl Object {
    /// Loads the maps and the programs that `needs` name; the others never reach the kernel. What this kernel cannot do
    /// in full is done by its second-best way where that is enough.
    pub fn load(needs: &[Need]) -> Result<Self, BpfError> {
        let mut wanted = BTreeMap::new();
        for Need { feature, level } in needs {
            let most = wanted.entry(*feature).or_insert(*level);
            *most = (*most).max(*level);
        }
        let features: Vec<Feature> = wanted.keys().copied().collect();
        let connect = Feature::CgroupConnect;
        let refused = match Self::load_as(&features, true) {
            Ok(object) if !(forced(connect) && wanted.contains_key(&connect)) => return Ok(object),
            Ok(_) => BpfError::OnlyReduced { feature: connect },
            Err(error @ BpfError::Program { feature: Feature::CgroupConnect, .. }) => error,
            Err(other) => return Err(other),
        };
        // If it fails again without return values of our own, they were not the reason.
        let Ok(mut object) = Self::load_as(&features, false) else { return Err(refused) };
        tracing::debug!("{connect} in full: {refused}");
        if wanted.get(&connect) == Some(&Level::Full) {
            return Err(BpfError::OnlyReduced { feature: connect });
        }
        object.levels.insert(connect, Level::Reduced);
        Ok(object)
    }

    fn load_as(features: &[Feature], sets_retval: bool) -> Result<Self, BpfError> {
        let sets_retval = u32::from(sets_retval);
        let mut ebpf = loader()
            .btf(None)
            .override_global(host::SETS_RETVAL, &sets_retval, true)
            .verifier_log_level(log_level())
            .load(IMAGE)?;
        let control = take(&mut ebpf, control::MAP_NAME)?;
        let counters = take(&mut ebpf, COUNTERS)?;
        #[cfg(feature = "kernel-log")]
        let logger = aya_log::EbpfLogger::init(&mut ebpf).map_err(|e| BpfError::KernelLog(e.to_string()))?;
        let mut object = Self {
            ebpf,
            levels: features.iter().map(|f| (*f, Level::Full)).collect(),
            filters: Filters::default(),
            control,
            counters,
            #[cfg(feature = "kernel-log")]
            logger,
        };
        object.load_programs()?;
        Ok(object)
    }

    /// What it was loaded for.
    pub fn features(&self) -> impl Iterator<Item = Feature> + '_ {
        self.levels.keys().copied()
    }

    /// How well a feature works here; of those that go on devices it is known once they are attached.
    pub fn level(&self, feature: Feature) -> Level {
        self.levels.get(&feature).copied().unwrap_or(Level::Full)
    }

    /// Fills every table. The scope stays without rules, so nothing is matched until [`Self::arm`].
    pub fn fill(&mut self, tables: &Tables) -> Result<(), BpfError> {
        let Tables { scope, rules: _, peer4, peer6, far_ports, near_ports, protected_cgroups } = tables;
        self.set_scope(&Scope { rules: 0, ..*scope })?;
        let wrong = |name| move |error| BpfError::Map { name, error };
        let mut table: LpmTrie<_, [u8; 4], ClauseBits> = self.map(PEER4)?;
        for ((address, length), clauses) in peer4 {
            table.insert(&Key::new(*length, *address), clause_bits(*clauses), 0).map_err(wrong(PEER4))?;
        }
        let mut table: LpmTrie<_, [u8; 16], ClauseBits> = self.map(PEER6)?;
        for ((address, length), clauses) in peer6 {
            table.insert(&Key::new(*length, *address), clause_bits(*clauses), 0).map_err(wrong(PEER6))?;
        }
        for (name, ports) in [(FAR_PORTS, far_ports), (NEAR_PORTS, near_ports)] {
            let mut table: LpmTrie<_, [u8; 4], ClauseBits> = self.map(name)?;
            for ((port, length), clauses) in ports {
                table.insert(&Key::new(*length, *port), clause_bits(*clauses), 0).map_err(wrong(name))?;
            }
        }
        let mut table: HashMap<_, u64, u32> = self.map(PROTECTED)?;
        for id in protected_cgroups {
            table.insert(id, 1, 0).map_err(wrong(PROTECTED))?;
        }
        Ok(())
    }

    /// Protects another cgroup while the experiment runs.
    pub fn protect(&mut self, cgroup_id: u64) -> Result<(), BpfError> {
        let mut table: HashMap<_, u64, u32> = self.map(PROTECTED)?;
        table.insert(cgroup_id, 1, 0).map_err(|error| BpfError::Map { name: PROTECTED, error })
    }

    /// Switches everything on for an experiment that starts at the boot time `start_ns`: the rules with their times, the first lease, and last the number of rules, which is what
    /// the programs look at first.
    pub fn arm(&mut self, tables: &Tables, start_ns: u64, lease_until_ns: u64) -> Result<(), BpfError> {
        let mut table: Array<_, Rule> = self.map(RULES)?;
        for (index, rule) in (0u32..).zip(tables.rules_from(start_ns)) {
            table.set(index, rule, 0).map_err(|error| BpfError::Map { name: RULES, error })?;
        }
        self.extend_lease(lease_until_ns)?;
        self.set_scope(&tables.scope)
    }

    /// Allows injection up to this boot time.
    pub fn extend_lease(&mut self, until_ns: u64) -> Result<(), BpfError> {
        self.flush_log();
        self.set_control(control::SLOT_LEASE, until_ns)
    }

    /// Forbids injection for good; in force for every packet from here on.
    pub fn halt(&mut self) -> Result<(), BpfError> {
        self.set_control(control::SLOT_HALT, 1)?;
        self.set_control(control::SLOT_LEASE, 0)
    }

    #[cfg(feature = "kernel-log")]
    pub(super) fn flush_log(&mut self) {
        self.logger.flush();
    }

    #[cfg(not(feature = "kernel-log"))]
    #[expect(clippy::unused_self, reason = "there is no log without the feature")]
    pub(super) fn flush_log(&mut self) {}

    /// Whether somebody (`kchaos halt`) has forbidden injection.
    pub fn halted(&self) -> Result<bool, BpfError> {
        let mark = self
            .control
            .get(&control::SLOT_HALT, 0)
            .map_err(|error| BpfError::Map { name: control::MAP_NAME, error })?;
        Ok(mark != 0)
    }

    /// What each of the first `rules` rules has done, summed over CPUs.
    pub fn counters(&self, rules: usize) -> Result<Vec<Counters>, BpfError> {
        (0u32..)
            .take(rules)
            .map(|index| {
                let per_cpu =
                    self.counters.get(&index, 0).map_err(|error| BpfError::Map { name: COUNTERS, error })?;
                let mut sum = Counters::default();
                per_cpu.iter().for_each(|cpu| sum.add(cpu));
                Ok(sum)
            })
            .collect()
    }

    fn set_control(&mut self, slot: u32, value: u64) -> Result<(), BpfError> {
        self.control.set(slot, value, 0).map_err(|error| BpfError::Map { name: control::MAP_NAME, error })
    }

    fn set_scope(&mut self, scope: &Scope) -> Result<(), BpfError> {
        let mut table: Array<_, Scope> = self.map(SCOPE)?;
        table.set(0, scope, 0).map_err(|error| BpfError::Map { name: SCOPE, error })
    }

    fn map<'a, M>(&'a mut self, name: &'static str) -> Result<M, BpfError>
    where
        M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>,
    {
        let map = self.ebpf.map_mut(name).ok_or(BpfError::Absent(name))?;
        M::try_from(map).map_err(|error| BpfError::Map { name, error })
    }
}

/// A loader that has not read the kernel's BTF, which our programs have no relocations against. `EbpfLoader::new` of aya 0.14
/// always reads and parses all of it (5 MiB and 100,000 types, most of the memory that a start would take) and takes
/// it for absent if it cannot be opened: so for this one call no file can be. Nothing else runs meanwhile.
fn loader() -> EbpfLoader<'static> {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let none = |hard| setrlimit(Resource::RLIMIT_NOFILE, 0, hard);
    let restore = limits.ok().filter(|(_, hard)| none(*hard).is_ok());
    let loader = EbpfLoader::new();
    if let Some((soft, hard)) = restore
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
    {
        tracing::warn!("putting the limit of open files back to {soft}: {error}");
    }
    loader
}

/// The verifier's whole log of a program that it refuses is for `RUST_LOG=debug`: writing it takes many times as long as
/// the refusal, which old kernels give to programs that new ones take.
fn log_level() -> VerifierLogLevel {
    if tracing::enabled!(tracing::Level::DEBUG) {
        VerifierLogLevel::default()
    } else {
        VerifierLogLevel::STATS
    }
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, BpfError>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(BpfError::Absent(name))?;
    M::try_from(map).map_err(|error| BpfError::Map { name, error })
}
