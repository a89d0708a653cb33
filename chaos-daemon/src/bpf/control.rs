//! Every experiment on the host, whoever started it: found by the name of its control map.

use aya::maps::{Array, Map, MapData, loaded_maps};
use chaos_common::control;

use super::BpfError;

/// Forbids injection in every experiment on the host, also where its owner hangs or has been stopped. Answers how many
/// there were. Needs `CAP_SYS_ADMIN`, which is what listing the kernel's maps takes.
pub fn halt_all() -> Result<usize, BpfError> {
    let wrong = |error| BpfError::Map { name: control::MAP_NAME, error };
    let mut halted = 0;
    for info in loaded_maps() {
        let info = match info {
            Ok(info) => info,
            // A map that was freed while the list was walked.
            Err(aya::maps::MapError::SyscallError(e))
                if e.io_error.kind() == std::io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(error) => return Err(wrong(error)),
        };
        if info.name_as_str() != Some(control::MAP_NAME) {
            continue;
        }
        let Ok(data) = MapData::from_id(info.id()) else { continue };
        let mut slots: Array<_, u64> = Array::try_from(Map::Array(data)).map_err(wrong)?;
        slots.set(control::SLOT_HALT, 1, 0).map_err(wrong)?;
        slots.set(control::SLOT_LEASE, 0, 0).map_err(wrong)?;
        halted += 1;
    }
    Ok(halted)
}
