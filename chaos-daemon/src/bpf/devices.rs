//! The network devices that carry our programs: all of the target's network namespaces, also those that appear later.
//!
//! A device is known by its number: its name may change at any time. What must stay true: a namespace that is left is
//! not kept alive, and a device that went away is no error.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use aya::programs::ProgramError;
use chaos_common::{control::LEASE_NS, line::is_line};

use super::{
    BpfError, Feature, Object,
    feature::Place,
    lines::Waits,
    monitor::Monitor,
    netlink::Side,
    tc::{At, Link},
};
use crate::{
    engine::boot_ns,
    guard::run_dir,
    rtnl::device_name,
    target::{NetNs, inside},
};

/// How long the lease can do without us, with room to spare.
const MOMENT: Duration = Duration::from_millis(50);

/// A network namespace that is watched.
pub(super) struct Namespace {
    handle: Arc<NetNs>,
    monitor: Monitor,
    /// Whether a device waits for another kchaos to finish with filters.
    again: bool,
    /// Where calls are told apart by it.
    cookie: Option<u64>,
    /// By number: name, and the links on it; none where clsact filters do their work.
    devices: BTreeMap<u32, (String, Vec<Link>)>,
    /// Where packets wait that these devices send there; dropped after them.
    pub(super) waits: Waits,
}

impl Object {
    /// The network namespaces whose devices carry our programs.
    pub fn namespaces(&self) -> Vec<Arc<NetNs>> {
        self.namespaces.values().map(|namespace| Arc::clone(&namespace.handle)).collect()
    }

    /// Attaches the programs for packets to every device of a namespace, and to those that will appear in it
    /// ([`Self::follow_devices`]). A namespace that is known already stays as it is.
    pub fn attach_namespace(&mut self, handle: &Arc<NetNs>, fails: Fails) -> Result<(), BpfError> {
        let has_devices = self.features().any(|feature| feature.place() == Place::Devices);
        if self.namespaces.contains_key(&handle.inode) || !has_devices && !self.tells_calls_apart() {
            return Ok(());
        }
        self.leave_devices()?;
        let cookie = if self.tells_calls_apart() { Some(handle.cookie()?) } else { None };
        // Listening first: what appears while the list is read is heard of.
        let monitor = inside(handle, Monitor::open)?
            .map_err(|error| BpfError::Io { what: "listening for network devices".into(), error })?;
        // Before any program can send packets there.
        let waits = self.open_line(handle, fails)?;
        let namespace = Namespace {
            handle: handle.clone(),
            monitor,
            again: false,
            cookie,
            devices: BTreeMap::new(),
            waits,
        };
        self.namespaces.insert(handle.inode, namespace);
        if let Some(cookie) = cookie {
            self.set_namespace(cookie, true)?;
        }
        self.attach_devices(handle, fails)
    }

    /// Detaches from every device of the namespaces that are not among `stay`.
    pub fn leave_namespaces(&mut self, stay: &BTreeSet<u64>) -> Result<(), BpfError> {
        let gone: Vec<u64> = self.namespaces.keys().filter(|inode| !stay.contains(inode)).copied().collect();
        for inode in gone {
            let cookie = self.namespaces.remove(&inode).and_then(|namespace| namespace.cookie);
            if let Some(cookie) = cookie {
                self.set_namespace(cookie, false)?;
            }
        }
        let lines = self.line_namespaces();
        let leaves = |inode: u64, _: u32| !stay.contains(&inode) && !lines.contains(&inode);
        self.remarks.extend(self.filters.detach(leaves, MOMENT));
        Ok(())
    }

    /// Attaches to devices that have appeared since, and lets go of those that went. Cheap if there are none.
    pub fn follow_devices(&mut self) -> Result<(), BpfError> {
        self.leave_devices()?;
        let looks = |namespace: &mut Namespace| std::mem::take(&mut namespace.again);
        let changed = self.namespaces.values_mut().filter_map(|n| looks(n).then(|| n.handle.clone()));
        let changed: Vec<Arc<NetNs>> = changed.collect();
        changed.iter().try_for_each(|handle| self.attach_devices(handle, Fails::Device))
    }

    /// Lets go of devices that are no longer where they were. It comes before attaching anywhere: one that has moved to
    /// another namespace brings our link along, and cannot carry the program twice.
    fn leave_devices(&mut self) -> Result<(), BpfError> {
        let Self { namespaces, filters, .. } = self;
        for (inode, namespace) in namespaces {
            namespace.again |= namespace.monitor.has_news();
            if namespace.again {
                let there = inside(&namespace.handle, devices)??;
                let numbers: BTreeSet<u32> = there.iter().map(|device| device.index).collect();
                filters.forget(*inode, &numbers);
                namespace.devices.retain(|index, _| numbers.contains(index));
                namespace.waits.check(*inode)?;
            }
        }
        Ok(())
    }

    /// Inode of their namespace, and name, of all devices with a program on them.
    pub fn devices(&self) -> Vec<(u64, String)> {
        let names = |(inode, namespace): (&u64, &Namespace)| {
            let inode = *inode;
            namespace.devices.values().map(move |(name, _)| (inode, name.clone())).collect::<Vec<_>>()
        };
        self.namespaces.iter().flat_map(names).collect()
    }

    fn attach_devices(&mut self, handle: &Arc<NetNs>, fails: Fails) -> Result<(), BpfError> {
        self.filters.patience = match fails {
            Fails::Start => run_dir::PATIENCE,
            Fails::Device => MOMENT,
        };
        if self.namespaces.get(&handle.inode).is_some_and(|namespace| namespace.waits.is_missing()) {
            return Ok(());
        }
        inside(handle, || {
            for device in devices()? {
                let known = self.namespaces.get(&handle.inode).map(|namespace| &namespace.devices);
                // What comes out of a delay line, ours or another's, has been judged where it comes from.
                if is_line(device.index) || known.is_some_and(|known| known.contains_key(&device.index)) {
                    continue;
                }
                let Err(error) = self.attach_device(handle, &device) else { continue };
                // Not on one side of the device without the other.
                let of_device = |inode, index| (inode, index) == (handle.inode, device.index);
                self.remarks.extend(self.filters.detach(of_device, self.filters.patience));
                match fails {
                    Fails::Start => return Err(error),
                    Fails::Device => self.not_watched(handle.inode, device, &error),
                }
            }
            Ok(())
        })?
    }

    /// A device that appeared later cannot be attached to: it is tried again, or said.
    fn not_watched(&mut self, inode: u64, device: Device, error: &BpfError) {
        let Some(namespace) = self.namespaces.get_mut(&inode) else { return };
        if passes(error) {
            namespace.again = true;
            return;
        }
        self.remarks.push(format!("{}, which appeared later, is not watched: {error}", device.name));
        namespace.devices.insert(device.index, (device.name, Vec::new()));
    }

    /// All programs of a feature.
    fn attach_all(&mut self, feature: Feature, at: &At<'_>, links: &mut Vec<Link>) -> Result<(), BpfError> {
        feature.programs().iter().try_for_each(|program| self.attach_tc(feature, program, at, links))
    }

    /// Attaches to one device, before all programs of others there.
    fn attach_device(&mut self, handle: &Arc<NetNs>, device: &Device) -> Result<(), BpfError> {
        // The lease says that we are alive: to the kernel, if this takes long, and to whoever looks for what dead ones
        // have left.
        self.extend_lease(boot_ns() + LEASE_NS)?;
        let mut name = device.name.clone();
        let mut links = Vec::new();
        for feature in self.features().filter(|f| f.place() == Place::Devices).collect::<Vec<_>>() {
            loop {
                let at = At { namespace: handle, index: device.index, device: &name, side: side(feature) };
                let error = match self.attach_all(feature, &at, &mut links) {
                    Ok(()) => break,
                    Err(error) => error,
                };
                match device_name(device.index) {
                    // Renamed since the list was made, as container networks do.
                    Some(now) if now != name => name = now,
                    Some(_) => return Err(error),
                    // A device that went away sends no packets.
                    None => return Ok(()),
                }
            }
        }
        if let Some(namespace) = self.namespaces.get_mut(&handle.inode) {
            namespace.devices.insert(device.index, (name, links));
        }
        Ok(())
    }
}

/// Where on a device a feature's programs sit.
fn side(feature: Feature) -> Side {
    if feature == Feature::TcIngress { Side::Ingress } else { Side::Egress }
}

/// Whether an error is one of this moment: another kchaos is at work on filters, or a device has moved here with a link
/// of ours that is about to be dropped.
fn passes(error: &BpfError) -> bool {
    match error {
        BpfError::Clsact { error, .. } => error.kind() == io::ErrorKind::TimedOut,
        BpfError::Program { error: ProgramError::SyscallError(e), .. } => {
            e.io_error.raw_os_error() == Some(libc::EEXIST)
        }
        _ => false,
    }
}

/// What it means that a device cannot be attached to.
#[derive(Clone, Copy, Debug)]
pub enum Fails {
    /// At the start it is all or nothing.
    Start,
    /// Of one that appears later it is said, and the experiment goes on.
    Device,
}

/// A network device as it was listed.
struct Device {
    index: u32,
    name: String,
}

/// All but delay lines, whose packets have been judged.
fn devices() -> Result<Vec<Device>, BpfError> {
    let list = nix::net::if_::if_nameindex()
        .map_err(|e| BpfError::Io { what: "listing network devices".into(), error: e.into() })?;
    Ok(list
        .into_iter()
        .filter(|d| !is_line(d.index()))
        .map(|d| Device { index: d.index(), name: d.name().to_string_lossy().into_owned() })
        .collect())
}
