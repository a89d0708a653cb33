//! Every experiment on the host, whoever started it: found by the name of its control map.

use std::{io, os::fd::OwnedFd};

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
    halt_all_but(&[])
}

/// The same but for those with these [`Switch::id`]s.
pub fn halt_all_but(known: &[u32]) -> Result<Halted, BpfError> {
    let mut outcome = Halted::default();
    for info in loaded_maps() {
        let info = match info {
            Ok(info) => info,
            // Freed while the list was walked.
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(BpfError::Map { name: control::MAP_NAME, error }),
        };
        if info.name_as_str() != Some(control::MAP_NAME) || known.contains(&info.id()) {
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

/// Switches one experiment off, from any thread and without waiting for its owner: a descriptor of its control map.
/// It does not keep the experiment alive.
pub struct Switch {
    map: u32,
    slots: Array<MapData, u64>,
}

impl Switch {
    /// The switch of the experiment whose control map this is a descriptor of.
    pub(super) fn of(control: &OwnedFd) -> Result<Self, BpfError> {
        let io = |error| BpfError::Io { what: "copying the descriptor of a map".to_owned(), error };
        let failed = |error| BpfError::Map { name: control::MAP_NAME, error };
        let map = MapData::from_fd(control.try_clone().map_err(io)?).map_err(failed)?;
        let id = map.info().map_err(failed)?.id();
        let slots = Array::try_from(Map::Array(map)).map_err(failed)?;
        Ok(Self { map: id, slots })
    }

    /// Which one it is, for [`halt_all_but`].
    pub fn id(&self) -> u32 {
        self.map
    }

    /// Whether it was switched off, by whomever.
    pub fn is_off(&self) -> Result<bool, BpfError> {
        let mark = self.slots.get(&control::SLOT_HALT, 0);
        mark.map(|mark| mark != 0).map_err(|error| BpfError::Map { name: control::MAP_NAME, error })
    }

    /// Forbids injection for good; in force for every packet and call from here on.
    pub fn off(&mut self) -> Result<(), BpfError> {
        forbid(&mut self.slots).map_err(|error| BpfError::Map { name: control::MAP_NAME, error })
    }
}

/// Forbids injection in the experiment whose control map this is.
pub(super) fn halt(map: u32) -> Result<(), MapError> {
    forbid(&mut Array::try_from(Map::Array(MapData::from_id(map)?))?)
}

fn forbid(slots: &mut Array<MapData, u64>) -> Result<(), MapError> {
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
