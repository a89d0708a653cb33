//! Filters that outlived the kchaos that made them, on kernels without tcx: found by name and handle, told from
//! filters in use, and removed.
//!
//! A filter is a leftover when its lease has run out and no process holds its control map. Before it goes, its halt
//! mark is set: should its owner be alive after all, stopped and hidden in another pid namespace, it finds itself
//! halted when it goes on, and says so.

use std::{collections::HashMap, fmt, io, thread, time::Duration};

use aya::{
    maps::{Array, Map, MapData, MapInfo},
    programs::loaded_programs,
};
use chaos_common::control;
use procfs::process::{FDTarget, all_processes};

use super::{
    BpfError,
    clsact::{self, Removed},
    control::halt,
    netlink::{Filter, Side, Tc},
};
use crate::{
    engine::boot_ns,
    guard::run_dir,
    target::{NetNs, inside},
};

/// A filter that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedFilter {
    /// The device it was on.
    pub device: String,
    /// The network namespace of the device.
    pub namespace: u64,
    /// Whether the clsact qdisc that was made for it went, too.
    pub clsact: bool,
}

impl fmt::Display for RemovedFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, namespace, clsact } = self;
        let qdisc = if *clsact { " and its clsact qdisc" } else { "" };
        write!(f, "a tc filter of a killed kchaos{qdisc} on {device} in network namespace {namespace}")
    }
}

/// What to do about a filter that nobody holds and whose lease is still running, because its owner has just died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Leave it; it will be inert soon.
    Respect,
    /// Wait until the lease has run out: 2 s at most.
    AwaitEnd,
}

/// Looks for leftovers. What it finds out about a program holds for all of its filters.
pub struct Cleaner {
    lease: Lease,
    /// By program: its control map, if it is abandoned.
    known: HashMap<u32, Option<u32>>,
}

impl Cleaner {
    /// One for a whole host, or for a single namespace.
    pub fn new(lease: Lease) -> Self {
        Self { lease, known: HashMap::new() }
    }

    /// Removes the leftovers on all devices of a network namespace. One that cannot be removed does not keep the
    /// others. Needs `CAP_SYS_ADMIN` to tell them from filters in use, and `CAP_NET_ADMIN`.
    pub fn clean(&mut self, namespace: &NetNs) -> (Vec<RemovedFilter>, Vec<BpfError>) {
        let (mut removed, mut failed) = (Vec::new(), Vec::new());
        let fail = |error| BpfError::Io {
            what: format!("removing what a killed kchaos left in network namespace {}", namespace.inode),
            error,
        };
        let entered = inside(namespace, || {
            let tc = Tc::open()?;
            for device in &nix::net::if_::if_nameindex()? {
                match self.clean_device(&tc, device.index()) {
                    Ok(clsact) => removed.extend(clsact.into_iter().map(|clsact| RemovedFilter {
                        device: device.name().to_string_lossy().into_owned(),
                        namespace: namespace.inode,
                        clsact,
                    })),
                    Err(error) => failed.push(fail(error)),
                }
            }
            Ok::<_, io::Error>(())
        });
        match entered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed.push(fail(error)),
            Err(error) => failed.push(error.into()),
        }
        (removed, failed)
    }

    /// One entry for each filter that was removed: whether its qdisc went, too.
    fn clean_device(&mut self, tc: &Tc, device: u32) -> io::Result<Vec<bool>> {
        let mut removed = Vec::new();
        for side in [Side::Egress, Side::Ingress] {
            for filter in tc.filters(device, side)?.iter().filter(|f| clsact::is_ours(f, &clsact::names())) {
                removed.extend(self.clean_filter(tc, device, side, filter)?);
            }
        }
        Ok(removed)
    }

    /// If it was removed: whether its qdisc went, too.
    fn clean_filter(
        &mut self,
        tc: &Tc,
        device: u32,
        side: Side,
        filter: &Filter,
    ) -> io::Result<Option<bool>> {
        let Some(program) = filter.program else { return Ok(None) };
        let lease = self.lease;
        let Some(control) = *self.known.entry(program).or_insert_with(|| abandoned(program, lease)) else {
            return Ok(None);
        };
        let _lock = run_dir::lock(clsact::LOCK, run_dir::PATIENCE)?;
        if let Err(error) = halt(control) {
            tracing::debug!("halting what is left on device {device}: {error}");
        }
        Ok(match clsact::remove(tc, device, side, filter.place, program)? {
            Removed::Ours { clsact, .. } => Some(clsact),
            Removed::Missing | Removed::DeviceGone => None,
        })
    }
}

/// The control map of a program whose owner is gone.
fn abandoned(program: u32, lease: Lease) -> Option<u32> {
    let maps = loaded_programs().flatten().find(|p| p.id() == program)?.map_ids().ok()??;
    let control = maps
        .into_iter()
        .find(|id| MapInfo::from_id(*id).is_ok_and(|i| i.name_as_str() == Some(control::MAP_NAME)))?;
    if is_held(control) {
        return None;
    }
    // An owner that is alive and cannot be seen extends it.
    if lease == Lease::AwaitEnd {
        let left = lease_of(control)?.saturating_sub(boot_ns()).min(control::LEASE_NS);
        thread::sleep(Duration::from_nanos(left));
    }
    (lease_of(control)? <= boot_ns()).then_some(control)
}

fn lease_of(control: u32) -> Option<u64> {
    let slots: Array<_, u64> = Array::try_from(Map::Array(MapData::from_id(control).ok()?)).ok()?;
    slots.get(&control::SLOT_LEASE, 0).ok()
}

/// Whether a process that we can see has a descriptor of the map.
fn is_held(map: u32) -> bool {
    let line = format!("map_id:\t{map}");
    let holds = |pid: i32, fd: i32| {
        std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"))
            .is_ok_and(|text| text.lines().any(|l| l == line))
    };
    all_processes().into_iter().flatten().flatten().any(|process| {
        let pid = process.pid;
        process.fd().into_iter().flatten().flatten().any(|fd| {
            matches!(&fd.target, FDTarget::AnonInode(kind) if kind.contains("bpf-map")) && holds(pid, fd.fd)
        })
    })
}
