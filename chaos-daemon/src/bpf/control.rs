//! Every experiment on the host, whoever started it: found by the name of its control map.

use std::io;

use aya::maps::{Array, Map, MapData, MapError, loaded_maps};
use chaos_common::{control, scope::Scope};

use super::{BpfError, object::SCOPE};

/// What came of halting everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Halted {
    /// Experiments that were switched off.
    pub halted: usize,
    /// Why others could not be.
    pub failed: Vec<String>,
}

/// Forbids injection in every experiment on the host, also where its owner hangs or has been stopped. One that cannot be
/// halted does not keep the others from it. Needs `CAP_SYS_ADMIN`, which is what listing the kernel's maps takes.
pub fn halt_all() -> Result<Halted, BpfError> {
    let mut outcome = Halted::default();
    for info in loaded_maps() {
        let info = match info {
            Ok(info) => info,
            // Freed while the list was walked.
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(BpfError::Map { name: control::MAP_NAME, error }),
        };
        if info.name_as_str() != Some(control::MAP_NAME) {
            continue;
        }
        match halt(info.id()) {
            Ok(()) => outcome.halted += 1,
            Err(error) if is_gone(&error) => {}
            Err(error) => outcome.failed.push(format!("map {}: {error}", info.id())),
        }
    }
    Ok(outcome)
}

/// Forbids injection in the experiment whose control map this is.
pub(super) fn halt(map: u32) -> Result<(), MapError> {
    let mut slots: Array<_, u64> = Array::try_from(Map::Array(MapData::from_id(map)?))?;
    slots.set(control::SLOT_HALT, 1, 0)?;
    slots.set(control::SLOT_LEASE, 0, 0)
}

/// The marks (`Scope::tag`, `Scope::arrival_tag`) of all experiments on the host. Without the right to list the kernel's maps (`CAP_SYS_ADMIN`)
/// none are known.
pub fn marks_in_use() -> u32 {
    loaded_maps()
        .flatten()
        .filter(|info| info.name_as_str() == Some(SCOPE))
        .filter_map(|info| {
            let data = MapData::from_id(info.id()).ok()?;
            Array::<_, Scope>::try_from(Map::Array(data)).ok()?.get(&0, 0).ok()
        })
        .fold(0, |marks, scope| marks | scope.tag | scope.arrival_tag)
}

fn is_gone(error: &MapError) -> bool {
    matches!(error, MapError::SyscallError(e) if e.io_error.kind() == io::ErrorKind::NotFound)
}
