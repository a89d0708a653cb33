//! Who is the target and who is protected, as the programs know it: sets of cgroups and of network namespaces.

use std::collections::BTreeMap;

use aya::maps::{HashMap, MapError};
use chaos_common::{
    call,
    scope::{FLAG_NAMESPACES, SEVERAL, Scope},
};

use super::{BpfError, Feature, Object, tc::Link};

const PROTECTED: &str = "KCHAOS_PROTECT";
const TARGETS: &str = "KCHAOS_TARGETS";
const NAMESPACES: &str = "KCHAOS_NETNS";

impl Object {
    /// Protects another cgroup while the experiment runs, or forgets one that is gone.
    pub fn protect(&mut self, cgroup_id: u64, is: bool) -> Result<(), BpfError> {
        self.set_entry(PROTECTED, cgroup_id, is)
    }

    /// Counts a cgroup's packets as the target's, or no longer. [`Self::cgroups`] must hold it in both cases.
    pub(super) fn set_target(&mut self, id: u64, is: bool) -> Result<(), BpfError> {
        let depths = |cgroups: &BTreeMap<u64, (u32, Vec<Link>)>| {
            cgroups
                .iter()
                .filter(|(other, _)| is || **other != id)
                .fold(0, |all, (_, (depth, _))| all | 1u64.checked_shl(*depth).unwrap_or_default())
        };
        let depths = depths(&self.cgroups);
        self.set_entry(TARGETS, id, is)?;
        let others = self.cgroups.keys().filter(|other| is || **other != id);
        let sieve = others.fold(0, |all, id| all | call::sieve(*id));
        let depth = if depths.is_power_of_two() { depths.trailing_zeros() } else { SEVERAL };
        self.set_scope(Scope { depths, depth, sieve, ..self.scope })
    }

    /// Whether calls count by the network namespace that they are made in.
    pub(super) fn tells_calls_apart(&self) -> bool {
        self.scope.flags & FLAG_NAMESPACES != 0 && self.levels.contains_key(&Feature::CgroupConnect)
    }

    /// Counts the calls made in a network namespace as the target's, or no longer.
    pub(super) fn set_namespace(&mut self, cookie: u64, is: bool) -> Result<(), BpfError> {
        self.set_entry(NAMESPACES, cookie, is)
    }

    /// Puts a number into one of the sets, or takes it out.
    fn set_entry(&mut self, name: &'static str, number: u64, is: bool) -> Result<(), BpfError> {
        let mut table: HashMap<_, u64, u32> = self.map(name)?;
        let changed = match if is { table.insert(number, 1, 0) } else { table.remove(&number) } {
            // What is not there need not go.
            Err(MapError::KeyNotFound) => Ok(()),
            changed => changed,
        };
        changed.map_err(|error| BpfError::Map { name, error })
    }
}
