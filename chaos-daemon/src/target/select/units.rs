//! The cgroups of systemd's units.

use std::{io, path::Path};

use super::Member;
use crate::{
    config::unit_name,
    target::{Hierarchy, TargetError, cgroup::children},
};

/// systemd gives every unit that runs a cgroup of its name (`systemd.resource-control(5)`), below slices whose names do
/// not follow from it. What is below anything else belongs to another systemd: a user's, or that of a container.
pub(super) fn named(hierarchy: &Hierarchy, pattern: &str) -> Result<Vec<Member>, TargetError> {
    let pattern = glob::Pattern::new(&unit_name(pattern))
        .map_err(|e| TargetError::io(format!("the pattern {pattern}"), io::Error::other(e)))?;
    let mut found = Vec::new();
    search(hierarchy, hierarchy.mount(), &pattern, &mut found);
    Ok(found)
}

fn search(hierarchy: &Hierarchy, dir: &Path, pattern: &glob::Pattern, found: &mut Vec<Member>) {
    for child in children(dir) {
        let name = child.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // What would be read as something else has an underscore in front (`cg_escape` of systemd).
        if pattern.matches(name.strip_prefix('_').unwrap_or(&name)) || pattern.matches(&name) {
            // One that has just gone is nobody.
            if let Ok(cgroup) = hierarchy.cgroup(&child.to_string_lossy()) {
                found.push(Member::new(format!("unit {name} ({})", cgroup.name), cgroup));
            }
        } else if child.extension().is_some_and(|kind| kind == "slice") {
            search(hierarchy, &child, pattern, found);
        }
    }
}
