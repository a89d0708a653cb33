//! What programs for calls cannot find out themselves, and are told.

use chaos_common::offsets::{ABSENT, Offsets};

use super::{load, types::KernelTypes};

/// What the programs are told about this kernel before they are loaded.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Where members of structures are.
    pub offsets: Offsets,
    /// `chaos_common::host::KNOWS_ANCESTORS`.
    pub knows_ancestors: u32,
    /// `chaos_common::host::LOCKS`.
    pub locks: u32,
}

impl Told {
    /// Where none of it matters.
    pub const NOTHING: Self = Self { offsets: Offsets::NONE, knows_ancestors: 0, locks: 1 };

    /// Asks this kernel.
    pub fn by(types: &KernelTypes) -> Self {
        let question = types.function("security_file_permission").map(|(id, _)| id);
        let knows = |helper| question.is_some_and(|id| load::knows_helper(id, helper));
        let offsets = types.offsets();
        // Where the ids are not to be read, the function is there, and if it cannot be had, no program can: then loading
        // one says why.
        let knows_ancestors = offsets.cgroup_ancestor_ids == ABSENT || knows(load::CURRENT_ANCESTOR);
        // Likewise where no program of this kind is let in at all.
        let locks = knows(load::SPIN_LOCK) || !knows(load::CLOCK);
        Self { offsets, knows_ancestors: knows_ancestors.into(), locks: locks.into() }
    }
}
