//! Protection while an experiment runs: a protected service may be restarted, or started inside the target, and is
//! then in a cgroup of another id.
//!
//! What must stay true: what joins the target is looked at before anything is attached to it. What is protected
//! stays so as long as its cgroup is there, also while the service is down.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    bpf::{BpfError, Object},
    guard::protected::{Protected, ProtectedCgroup},
    target::{Cgroup, Hierarchy, NetNs, TargetError},
};

/// How often protected processes are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is protected, and where to look for more.
pub struct Guard {
    /// What is known.
    pub protected: Protected,
    hierarchy: Hierarchy,
    /// Not with `allow_protected`.
    on: bool,
    looked: Instant,
}

impl Guard {
    /// Goes on from what was found at the start.
    pub fn new(protected: Protected, hierarchy: Hierarchy, on: bool) -> Self {
        Self { protected, hierarchy, on, looked: Instant::now() }
    }

    /// Looks through the target again, if it is time, and forgets cgroups that are gone.
    pub fn look_again<'a>(
        &mut self,
        object: &mut Object,
        target: impl Iterator<Item = &'a Cgroup>,
    ) -> Result<(), BpfError> {
        if !self.on || self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        self.look_at(object, target)?;
        for id in self.gone() {
            object.protect(id, false)?;
            self.protected.cgroups.remove(&id);
        }
        Ok(())
    }

    /// Protects what runs in these cgroups and should not be hit.
    pub fn look_at<'a>(
        &mut self,
        object: &mut Object,
        cgroups: impl Iterator<Item = &'a Cgroup>,
    ) -> Result<(), BpfError> {
        if !self.on {
            return Ok(());
        }
        for (id, found) in Protected::find(&self.hierarchy, cgroups, Vec::new()).cgroups {
            if !self.protected.cgroups.contains_key(&id) {
                object.protect(id, true)?;
            }
            // Also if it is known: the processes are others after a restart.
            self.protected.cgroups.insert(id, found);
        }
        Ok(())
    }

    /// The cgroups that are left alone, by name.
    pub fn names(&self) -> Vec<String> {
        if self.on { self.protected.names() } else { Vec::new() }
    }

    /// What is protected and lives in a network namespace, as far as is known.
    pub fn inside(&self, namespace: &NetNs) -> Option<&ProtectedCgroup> {
        self.protected.inside(namespace).filter(|_| self.on)
    }

    /// Those whose cgroup is surely gone, whatever else may keep us from looking at it: names may be used again, ids never
    /// are.
    fn gone(&self) -> Vec<u64> {
        let is_gone = |(id, found): &(&u64, &ProtectedCgroup)| match self.hierarchy.cgroup(&found.name) {
            Ok(now) => now.id != **id,
            Err(TargetError::Io { error, .. }) => error.kind() == io::ErrorKind::NotFound,
            Err(_) => false,
        };
        self.protected.cgroups.iter().filter(is_gone).map(|(id, _)| *id).collect()
    }
}
