//! What killed ones have left behind on this host, in every network namespace that can be found.

use crate::{
    bpf::{BpfError, Cleaner, Lease, RemovedFilter},
    resource::journal,
    target::{self, Hierarchy, Leftovers, NetNs, TargetError, remove_leftovers},
};

use super::loopback;

/// What became of it, in words.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What is gone.
    pub removed: Vec<String>,
    /// What is not, and why.
    pub stuck: Vec<String>,
}

/// Removes it. Takes `CAP_SYS_ADMIN`, without which what is left could not be told from what is in use.
pub fn clean() -> Result<Cleaned, TargetError> {
    let hierarchy = Hierarchy::find()?;
    // First, as a network namespace may be found only by the processes that are ended with their cgroup.
    let namespaces = target::all_namespaces();
    let (filters, failed) = filters(&namespaces);
    let (settings, unset) = loopback::clean(&namespaces);
    drop(namespaces);
    // Before cgroups are removed, and their values with them: what is put back is told.
    let undone = journal::clean();
    let Leftovers { removed, stuck } = remove_leftovers(&hierarchy);
    let mut removed: Vec<String> = removed.iter().map(|path| path.display().to_string()).collect();
    removed.extend(filters.iter().map(ToString::to_string));
    removed.extend(settings.iter().map(ToString::to_string));
    removed.extend(undone.restored.iter().map(|what| format!("what a killed kchaos held: {what}")));
    removed.extend(undone.foreign);
    let mut stuck: Vec<String> = stuck.iter().map(|path| path.display().to_string()).collect();
    stuck.extend(failed.iter().map(ToString::to_string));
    stuck.extend(unset.iter().map(ToString::to_string));
    stuck.extend(undone.failed);
    Ok(Cleaned { removed, stuck })
}

/// On kernels that keep filters.
fn filters(namespaces: &[NetNs]) -> (Vec<RemovedFilter>, Vec<BpfError>) {
    let mut cleaner = Cleaner::new(Lease::AwaitEnd);
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for namespace in namespaces {
        let (more, wrong) = cleaner.clean(namespace);
        removed.extend(more);
        failed.extend(wrong);
    }
    (removed, failed)
}
