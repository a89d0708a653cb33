//! The kernel object: loaded, filled, read.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{Ordering, fence},
};

use super::{
    BpfError, Feature, Level, Need,
    call::{Call, Calls, KernelTypes, Told},
    clsact::Filters,
    control::Switch,
    devices::Namespace,
    feature::forced,
    lines::{Lost, Wanted},
    loader,
    mapped::Mapped,
    tc::Link,
};
use crate::engine::{Half, Size, Tables, wait_for_running_programs};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, PerCpuArray},
};
use chaos_common::{control, counters::Counters, draw::mix, scope::Scope, uses::Uses};

/// The release of the compiler that built the programs; the same source costs the verifier more or less with another.
pub const COMPILER: &str = env!("KCHAOS_BPF_RUSTC");

static IMAGE: &[u8] = aya::include_bytes_aligned!(env!("KCHAOS_BPF_OBJECT"));

pub(super) const SCOPE: &str = "KCHAOS_SCOPE";
const COUNTERS: &str = "KCHAOS_COUNTERS";
const TRIAL: &str = "KCHAOS_TRIAL";

/// The loaded programs and maps. Dropping it detaches and frees all of them.
pub struct Object {
    /// First, as fields are dropped in order: they go before the programs that they run.
    pub(super) filters: Filters,
    /// Network namespaces whose devices carry our programs, by inode.
    pub(super) namespaces: BTreeMap<u64, Namespace>,
    /// Cgroups of the target, by id: their depth and the links on them.
    pub(super) cgroups: BTreeMap<u64, (u32, Vec<Link>)>,
    /// Calls that are caught.
    pub(super) calls: Option<Box<Calls>>,
    /// What is not as it should be, in words.
    pub(super) remarks: Vec<String>,
    pub(super) scope: Scope,
    pub(super) ebpf: Ebpf,
    pub(super) levels: BTreeMap<Feature, Level>,
    /// Whether programs go on devices by tcx; false when it was found out that there is none.
    pub(super) has_tcx: bool,
    /// Whether its programs may hold locks: rules may remember something.
    locks: bool,
    /// Delay lines to make.
    pub(super) line: Option<Wanted>,
    /// What these are known to have lost.
    pub(super) lost: Lost,
    mapped: Mapped,
    control: Array<MapData, u64>,
    /// The same map, for those who switch it off.
    switch: OwnedFd,
    counters: PerCpuArray<MapData, Counters>,
    /// The programs cannot be loaded once this is gone, as their log's map goes with it.
    #[cfg(feature = "kernel-log")]
    logger: aya_log::EbpfLogger<&'static dyn log::Log>,
}

impl Object {
    /// Loads the maps and the programs that `needs` name; the others never reach the kernel. What this kernel cannot do
    /// in full is done by its second-best way where that is enough. Rules that ask for more than `uses`
    /// ([`Uses`]) are not carried out.
    pub fn load(needs: &[Need], size: Size, uses: Uses) -> Result<Self, BpfError> {
        let mut wanted = BTreeMap::new();
        for Need { feature, level } in needs {
            let most = wanted.entry(*feature).or_insert(*level);
            *most = (*most).max(*level);
        }
        let features: Vec<Feature> = wanted.keys().copied().collect();
        let connect = Feature::CgroupConnect;
        let refused = match Self::load_as(&features, size, uses, true) {
            Ok(object) if !(forced(connect) && wanted.contains_key(&connect)) => return Ok(object),
            Ok(_) => BpfError::OnlyReduced { feature: connect },
            Err(error @ BpfError::Program { feature: Feature::CgroupConnect, .. }) => error,
            Err(other) => return Err(other),
        };
        // If it fails again without return values of our own, they were not the reason.
        let Ok(mut object) = Self::load_as(&features, size, uses, false) else { return Err(refused) };
        tracing::debug!("{connect} in full: {refused}");
        if wanted.get(&connect) == Some(&Level::Full) {
            return Err(BpfError::OnlyReduced { feature: connect });
        }
        object.levels.insert(connect, Level::Reduced);
        Ok(object)
    }

    fn load_as(features: &[Feature], size: Size, uses: Uses, sets_retval: bool) -> Result<Self, BpfError> {
        let types = kernel_types(features)?;
        let told = loader::told(types.as_ref());
        let mut ebpf = loader::loader(sets_retval, told, size, uses).load(IMAGE)?;
        let calls = types.map(|types| calls(&mut ebpf, types, *told)).transpose()?;
        let mapped = Mapped::new(size, |name| match ebpf.take_map(name) {
            Some(Map::Array(map)) => Ok(map),
            _ => Err(BpfError::Absent(name)),
        })?;
        let switch = descriptor(&ebpf, control::MAP_NAME)?;
        let control = take(&mut ebpf, control::MAP_NAME)?;
        let counters = take(&mut ebpf, COUNTERS)?;
        #[cfg(feature = "kernel-log")]
        let logger = aya_log::EbpfLogger::init(&mut ebpf).map_err(|e| BpfError::KernelLog(e.to_string()))?;
        let mut object = Self {
            ebpf,
            levels: features.iter().map(|f| (*f, Level::Full)).collect(),
            has_tcx: true,
            locks: told.locks != 0,
            line: None,
            lost: Lost::default(),
            filters: Filters::default(),
            namespaces: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            calls,
            remarks: Vec::new(),
            scope: Scope { salt: 1, ..Scope::default() },
            mapped,
            control,
            switch,
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
        if !self.locks && tables.remembers() {
            return Err(BpfError::NoLocks);
        }
        self.put_in_place(Scope { rules: 0, ..tables.scope })?;
        self.mapped.write(tables);
        self.fill_facts(&tables.facts)?;
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

    /// Catches the calls that it was loaded for. Before anything is armed: each is tried out.
    pub fn catch_calls(&mut self) -> Result<(), BpfError> {
        let calls: Vec<Call> = self
            .features()
            .filter_map(|feature| if let Feature::Call(call) = feature { Some(call) } else { None })
            .collect();
        calls.into_iter().try_for_each(|call| self.catch(call))
    }

    /// Catches one of them.
    pub fn catch(&mut self, call: Call) -> Result<(), BpfError> {
        self.calls.as_mut().map_or(Ok(()), |calls| calls.catch(call))
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

    /// What switches it off without asking us.
    pub fn switch(&self) -> Result<Switch, BpfError> {
        Switch::of(&self.switch)
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
        let Scope { depths, depth, sieve, salt, .. } = self.scope;
        self.set_scope(Scope { depths, depth, sieve, salt: mix(salt), engine: std::process::id(), ..scope })
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

/// The kernel's own types, if a call is to be caught: they are many.
fn kernel_types(features: &[Feature]) -> Result<Option<KernelTypes>, BpfError> {
    let Some(call) = features.iter().find_map(|feature| match feature {
        Feature::Call(call) => Some(*call),
        _ => None,
    }) else {
        return Ok(None);
    };
    KernelTypes::of_this_kernel().map(Some).map_err(|why| BpfError::Call { call, why })
}

/// What is needed to catch calls.
fn calls(ebpf: &mut Ebpf, types: KernelTypes, told: Told) -> Result<Box<Calls>, BpfError> {
    let maps = descriptors(ebpf)?;
    Calls::new(IMAGE, maps, types, told, take(ebpf, TRIAL)?).map(Box::new)
}

/// Descriptors of all maps, by name.
fn descriptors(ebpf: &Ebpf) -> Result<BTreeMap<String, OwnedFd>, BpfError> {
    let copy = |(name, map): (&str, &Map)| {
        let (Map::Array(map)
        | Map::HashMap(map)
        | Map::LruHashMap(map)
        | Map::PerCpuArray(map)
        | Map::PerCpuHashMap(map)) = map
        else {
            return None;
        };
        let copy = map.fd().as_fd().try_clone_to_owned();
        Some(copy.map(|fd| (name.to_owned(), fd)))
    };
    ebpf.maps()
        .filter_map(copy)
        .collect::<Result<_, _>>()
        .map_err(|error| BpfError::Io { what: "copying the descriptor of a map".to_owned(), error })
}

/// Another descriptor of a map, an array.
fn descriptor(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, BpfError> {
    let Some(Map::Array(map)) = ebpf.map(name) else { return Err(BpfError::Absent(name)) };
    let copy = map.fd().as_fd().try_clone_to_owned();
    copy.map_err(|error| BpfError::Io { what: "copying the descriptor of a map".to_owned(), error })
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, BpfError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(BpfError::Absent(name))?;
    M::try_from(map).map_err(|error| BpfError::Map { name, error })
}
