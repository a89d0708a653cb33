//! What is looked up before anything is loaded: all that can be wrong with an experiment on this host, but for the kernel's
//! own word.

use std::sync::Arc;

use chaos_common::scope::{FLAG_NAMESPACES, FLAG_OURS_SPARED};
use ipnet::IpNet;

use super::{
    error::StartError,
    idle, names,
    prepare::{
        check_resources, check_rights, fresh_seed, refuse_forbidden_target, refuse_protected_redirects,
        refuse_protected_target, remove_leftovers,
    },
    session::cgroups,
    slot::Slots,
    tables::{Addresses, Half, Tables},
};
use crate::{
    bpf::Switch,
    config::Experiment,
    guard::{files, forbidden::Forbidden, protected::Protected},
    load::Statistics,
    target::{Hierarchy, Target},
};

/// Asked when everything is attached and nothing is armed yet, with what switches the experiment off from then on.
/// The error is why it is not to start.
pub type BeforeArming<'a> = &'a (dyn Fn(Switch) -> Result<(), String> + Sync);

/// What the caller adds to the file.
#[derive(Clone, Default)]
pub struct Options<'a> {
    /// Ports that kchaos itself listens on; their traffic is never hit.
    pub own_ports: Vec<u16>,
    /// Far ends that are left alone besides those that always are.
    pub protected_peers: Vec<IpNet>,
    /// Cgroups that may not be hit.
    pub forbidden: Forbidden,
    /// Whether processes of our own program are left alone, and their calls, whoever runs it: `kchaos halt` must come
    /// through. The demo's service is one of them.
    pub spares_kchaos: bool,
    /// How the experiment's own load fares, if it has one.
    pub load: Option<Arc<Statistics>>,
    /// The last word before faults are on.
    pub before_arming: Option<BeforeArming<'a>>,
}

impl Options<'_> {
    /// What is left alone in and around a target.
    fn protected(&self, hierarchy: &Hierarchy, target: &Target) -> Protected {
        let mut protected = Protected::find(hierarchy, cgroups(target), self.own_ports.clone());
        protected.peers.extend(&self.protected_peers);
        protected
    }
}

fn flags(target: &Target, options: &Options<'_>) -> u32 {
    let of_namespaces = if target.selection.is_of_namespaces() { FLAG_NAMESPACES } else { 0 };
    of_namespaces | if options.spares_kchaos { FLAG_OURS_SPARED } else { 0 }
}

/// All of it.
pub(super) struct Found {
    pub addresses: Addresses,
    pub seed: u64,
    pub target: Target,
    pub hierarchy: Hierarchy,
    pub protected: Protected,
    pub tables: Tables,
    pub slots: Slots,
}

impl Found {
    /// Looks it up. Waits for names and stop conditions, and for nothing afterwards.
    pub async fn by(experiment: &Experiment, options: &Options<'_>) -> Result<Self, StartError> {
        check_rights(experiment)?;
        files::raise();
        let addresses = names::of(experiment).await?;
        // May take seconds, in which a target may become another.
        super::check_stops(experiment, options.load.clone()).await?;
        let seed = experiment.seed.unwrap_or_else(fresh_seed);
        let target = super::resolve(experiment, seed).await?;
        refuse_forbidden_target(experiment, &target, &options.forbidden)?;
        let hierarchy = Hierarchy::find()?;
        let protected = options.protected(&hierarchy, &target);
        refuse_protected_target(experiment, &target, &protected)?;
        refuse_protected_redirects(experiment, &protected)?;
        let mut tables = Tables::compile(experiment, &addresses, &protected, seed, Half::FIRST)
            .map_err(|p| experiment.mistake(p))?;
        remove_leftovers(&target);
        super::check_paths(experiment, cgroups(&target))?;
        let slots = Slots::take(experiment)?;
        slots.put_into(&mut tables.scope);
        tables.scope.flags |= flags(&target, options);
        check_resources(experiment, &hierarchy, &target, &protected)?;
        idle::check(&experiment.faults).map_err(StartError::Connections)?;
        Ok(Self { addresses, seed, target, hierarchy, protected, tables, slots })
    }
}
