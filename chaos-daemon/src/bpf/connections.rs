//! How many connections the kernel side has forgotten: its tables of them are bounded, and the longest unused goes first.

use aya::maps::{Array, HashMap, MapData};
use chaos_common::{
    reset::Life,
    scope::{MAX_FLOWS, MAX_NEW_FLOWS, noted},
};

use super::{BpfError, Object};

const NOTED: &str = "KCHAOS_NOTED";

/// How many entries every CPU may keep for itself (`BPF_LOCAL_FREE_TARGET`, `kernel/bpf/bpf_lru_list.h`): a table may
/// forget before it is full.
const KEPT_BY_A_CPU: u64 = 128;

impl Object {
    /// Connections that had to make room for others. What is remembered of one begins anew when it comes again.
    pub fn forgotten_connections(&self) -> Result<u64, BpfError> {
        Ok(self.forgotten::<Life>("KCHAOS_LIFE", noted::LIFE, MAX_FLOWS)?
            + self.forgotten::<u64>("KCHAOS_FLOWSTAT", noted::STATE, MAX_FLOWS)?
            + self.forgotten::<u32>("KCHAOS_FLOWS", noted::NEW, MAX_NEW_FLOWS)?)
    }

    fn forgotten<V: aya::Pod>(&self, name: &'static str, number: u32, room: usize) -> Result<u64, BpfError> {
        let totals: Array<&MapData, u64> = self.read(NOTED)?;
        let noted = totals.get(&number, 0).map_err(|error| BpfError::Map { name: NOTED, error })?;
        let cpus = aya::util::nr_cpus().map_or(1, |cpus| cpus as u64);
        // Counting the entries takes a system call for each.
        if noted + cpus * KEPT_BY_A_CPU <= room as u64 {
            return Ok(0);
        }
        let table: HashMap<&MapData, u64, V> = self.read(name)?;
        Ok(noted.saturating_sub(table.keys().flatten().count() as u64))
    }
}
