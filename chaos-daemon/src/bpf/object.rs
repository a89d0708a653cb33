//! The kernel object: loaded, filled, read.

use std::{
    collections::BTreeMap,
    sync::atomic::{Ordering, fence},
};

use super::{
    BpfError, Feature, Level, Need,
    clsact::Filters,
    devices::Namespace,
    feature::forced,
    lines::{Lost, Wanted},
    loader::{loader, log_level},
    mapped::{self, Mapped},
    tc::Link,
};
use crate::engine::{Half, Size, Tables, wait_for_running_programs};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, PerCpuArray},
};
use chaos_common::{control, counters::Counters, draw::mix, host, scope::Scope};

/// The release of the compiler that built the programs; the same source costs the verifier more or less with another.
pub const COMPILER: &str = env!("KCHAOS_BPF_RUSTC");

static IMAGE: &[u8] = aya::include_bytes_aligned!(env!("KCHAOS_BPF_OBJECT"));

pub(super) const SCOPE: &str = "KCHAOS_SCOPE";
const COUNTERS: &str = "KCHAOS_COUNTERS";

/// The loaded programs and maps. Dropping it detaches and frees all of them.
pub struct Object {
    /// First, as fields are dropped in order: they go before the programs that they run.
    pub(super) filters: Filters,
    /// Network namespaces whose devices carry our programs, by inode.
    pub(super) namespaces: BTreeMap<u64, Namespace>,
    /// Cgroups of the target, by id: their depth and the links on them.
    pub(super) cgroups: BTreeMap<u64, (u32, Vec<Link>)>,
    /// What is not as it should be, in words.
    pub(super) remarks: Vec<String>,
    pub(super) scope: Scope,
    pub(super) ebpf: Ebpf,
    pub(super) levels: BTreeMap<Feature, Level>,
    /// Whether programs go on devices by tcx; false when it was found out that there is none.
    pub(super) has_tcx: bool,
    /// Delay lines to make.
    pub(super) line: Option<Wanted>,
    /// What these are known to have lost.
    pub(super) lost: Lost,
    mapped: Mapped,
    control: Array<MapData, u64>,
    counters: PerCpuArray<MapData, Counters>,
    /// The programs cannot be loaded once this is gone, as their log's map goes with it.
    #[cfg(feature = "kernel-log")]
    logger: aya_log::EbpfLogger<&'static dyn log::Log>,
}

impl Object {
    /// Loads the maps and the programs that `needs` name; the others never reach the kernel. What this kernel cannot do
    /// in full is done by its second-best way where that is enough.
    pub fn load(needs: &[Need], size: Size) -> Result<Self, BpfError> {
        let mut wanted = BTreeMap::new();
        for Need { feature, level } in needs {
            let most = wanted.entry(*feature).or_insert(*level);
            *most = (*most).max(*level);
        }
        let features: Vec<Feature> = wanted.keys().copied().collect();
        let connect = Feature::CgroupConnect;
        let refused = match Self::load_as(&features, size, true) {
            Ok(object) if !(forced(connect) && wanted.contains_key(&connect)) => return Ok(object),
            Ok(_) => BpfError::OnlyReduced { feature: connect },
            Err(error @ BpfError::Program { feature: Feature::CgroupConnect, .. }) => error,
            Err(other) => return Err(other),
        };
        // If it fails again without return values of our own, they were not the reason.
        let Ok(mut object) = Self::load_as(&features, size, false) else { return Err(refused) };
        tracing::debug!("{connect} in full: {refused}");
        if wanted.get(&connect) == Some(&Level::Full) {
            return Err(BpfError::OnlyReduced { feature: connect });
        }
        object.levels.insert(connect, Level::Reduced);
        Ok(object)
    }

    fn load_as(features: &[Feature], size: Size, sets_retval: bool) -> Result<Self, BpfError> {
        let sets_retval = u32::from(sets_retval);
        let mut loader = loader();
        loader
            .btf(None)
            .override_global(host::SETS_RETVAL, &sets_retval, true)
            .verifier_log_level(log_level());
        for (name, entries) in mapped::entries(size) {
            loader.map_max_entries(name, entries);
        }
        let mut ebpf = loader.load(IMAGE)?;
        let mapped = Mapped::new(size, |name| match ebpf.take_map(name) {
            Some(Map::Array(map)) => Ok(map),
            _ => Err(BpfError::Absent(name)),
        })?;
        let control = take(&mut ebpf, control::MAP_NAME)?;
        let counters = take(&mut ebpf, COUNTERS)?;
        #[cfg(feature = "kernel-log")]
        let logger = aya_log::EbpfLogger::init(&mut ebpf).map_err(|e| BpfError::KernelLog(e.to_string()))?;
        let mut object = Self {
            ebpf,
            levels: features.iter().map(|f| (*f, Level::Full)).collect(),
            has_tcx: true,
            line: None,
            lost: Lost::default(),
            filters: Filters::default(),
            namespaces: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            remarks: Vec::new(),
            scope: Scope { salt: 1, ..Scope::default() },
            mapped,
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
        self.put_in_place(Scope { rules: 0, ..tables.scope })?;
        self.mapped.write(tables);
        if tables.draws_from_tables() {
            self.mapped.write_quantiles();
        }
        tables.protected_cgroups.iter().try_for_each(|id| self.protect(*id, true))
    }

    /// Puts other tables in the place of those that count: a packet sees the ones or the others. They must have been
    /// compiled for [`Self::other_half`], and for as many rules.
    pub fn replace(&mut self, tables: &Tables, start_ns: u64) -> Result<(), BpfError> {
        self.mapped.write(tables);
        self.mapped.write_rules(tables.scope.generation, &tables.rules_from(start_ns));
        // The programs must not see the new number before what it stands for.
        fence(Ordering::Release);
        self.put_in_place(tables.scope)?;
        // Until nobody uses the old ones any more, they must stay as they are.
        wait_for_running_programs();
        Ok(())
    }

    /// Where the next tables must stand.
    pub fn other_half(&self, tables: &Tables) -> Half {
        self.mapped.half(1 - tables.scope.generation)
    }

    /// Makes packets wait that must, in lines of these measures. Before anything is attached.
    pub fn use_line(&mut self, wanted: Wanted) {
        self.line = Some(wanted);
    }

    /// Switches everything on for an experiment that starts at the boot time `start_ns`: the rules with their times,
    /// the first lease, and last the number of rules, which is what the programs look at first.
    pub fn arm(&mut self, tables: &Tables, start_ns: u64, lease_until_ns: u64) -> Result<(), BpfError> {
        self.mapped.write_rules(tables.scope.generation, &tables.rules_from(start_ns));
        self.extend_lease(lease_until_ns)?;
        fence(Ordering::Release);
        self.put_in_place(tables.scope)
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

    /// A scope for tables that the programs have not seen.
    fn put_in_place(&mut self, scope: Scope) -> Result<(), BpfError> {
        self.set_scope(Scope { depths: self.scope.depths, salt: mix(self.scope.salt), ..scope })
    }

    pub(super) fn set_scope(&mut self, scope: Scope) -> Result<(), BpfError> {
        let mut table: Array<_, Scope> = self.map(SCOPE)?;
        table.set(0, scope, 0).map_err(|error| BpfError::Map { name: SCOPE, error })?;
        self.scope = scope;
        Ok(())
    }

    pub(super) fn map<'a, M>(&'a mut self, name: &'static str) -> Result<M, BpfError>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self.ebpf.map_mut(name).ok_or(BpfError::Absent(name))?;
        M::try_from(map).map_err(|error| BpfError::Map { name, error })
    }

    /// A map that is only read.
    pub(super) fn read<'a, M>(&'a self, name: &'static str) -> Result<M, BpfError>
    where
        M: TryFrom<&'a Map, Error = MapError>,
    {
        let map = self.ebpf.map(name).ok_or(BpfError::Absent(name))?;
        M::try_from(map).map_err(|error| BpfError::Map { name, error })
    }
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, BpfError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(BpfError::Absent(name))?;
    M::try_from(map).map_err(|error| BpfError::Map { name, error })
}
