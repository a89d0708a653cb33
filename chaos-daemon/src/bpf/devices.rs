//! The network devices that carry our programs: all of the target's network namespaces, also those that appear later.
//!
//! A device is known by its number: its name may change at any time. What must stay true: a namespace that is left is
//! not kept alive, and a device that went away is no error.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::Duration,
};

use aya::programs::{LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, tc::TcAttachOptions};
use chaos_common::{control::LEASE_NS, line::is_line};

use super::{
    BpfError, Feature, Level, Object,
    clsact::Runs,
    feature::{Place, forced},
    monitor::Monitor,
    netlink::Side,
};
use crate::{
    engine::boot_ns,
    guard::run_dir,
    target::{NetNs, inside},
};

/// How long the lease can do without us, with room to spare.
const MOMENT: Duration = Duration::from_millis(50);

/// A link, which detaches its program when it is dropped.
pub(super) type Link = Box<dyn Any + Send + Sync>;

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
}

impl Object {
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
        let namespace =
            Namespace { handle: handle.clone(), monitor, again: false, cookie, devices: BTreeMap::new() };
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
        self.remarks.extend(self.filters.detach(|inode, _| !stay.contains(&inode), MOMENT));
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
        inside(handle, || {
            for device in devices()? {
                let known = self.namespaces.get(&handle.inode).map(|namespace| &namespace.devices);
                if known.is_some_and(|known| known.contains_key(&device.index)) {
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

    /// Attaches to one device, before all programs of others there.
    fn attach_device(&mut self, handle: &Arc<NetNs>, device: &Device) -> Result<(), BpfError> {
        // The lease says that we are alive: to the kernel, if this takes long, and to whoever looks for what dead ones
        // have left.
        self.extend_lease(boot_ns() + LEASE_NS)?;
        let mut name = device.name.clone();
        let mut links = Vec::new();
        for feature in self.features().filter(|f| f.place() == Place::Devices).collect::<Vec<_>>() {
            loop {
                let error = match self.attach_feature(feature, handle, device.index, &name, &mut links) {
                    Ok(()) => break,
                    Err(error) => error,
                };
                match nix::net::if_::if_indextoname(device.index) {
                    // Renamed since the list was made, as container networks do.
                    Ok(now) if now.to_string_lossy() != name => name = now.to_string_lossy().into_owned(),
                    Ok(_) => return Err(error),
                    // A device that went away sends no packets.
                    Err(_) => return Ok(()),
                }
            }
        }
        if let Some(namespace) = self.namespaces.get_mut(&handle.inode) {
            namespace.devices.insert(device.index, (name, links));
        }
        Ok(())
    }

    /// By tcx, or by clsact where there is no tcx.
    fn attach_feature(
        &mut self,
        feature: Feature,
        handle: &Arc<NetNs>,
        index: u32,
        device: &str,
        links: &mut Vec<Link>,
    ) -> Result<(), BpfError> {
        let Self { ebpf, filters, levels, remarks, .. } = self;
        for name in feature.programs() {
            let found = ebpf.program_mut(name).ok_or(BpfError::Absent(name))?;
            let refused = |error| BpfError::Program { feature, step: "attaching", program: name, error };
            let Program::SchedClassifier(program) = found else {
                return Err(refused(ProgramError::UnexpectedProgramType));
            };
            if levels.get(&feature) != Some(&Level::Reduced) {
                match attach_tcx(program, device, feature) {
                    Ok(link) => {
                        links.push(link);
                        continue;
                    }
                    Err(error) if !has_no_tcx(&error) => return Err(refused(error)),
                    Err(error) => {
                        tracing::debug!("{device}: {error}: there is no tcx");
                        levels.insert(feature, Level::Reduced);
                    }
                }
            }
            let fd = program.fd().map_err(refused)?.as_fd().as_raw_fd();
            let runs = Runs { fd, id: program.info().map_err(refused)?.id(), name };
            let first = filters
                .attach(handle, index, device, side(feature), runs)
                .map_err(|error| BpfError::Clsact { device: device.to_owned(), error })?;
            remarks.extend(first.map(|priority| {
                format!(
                    "on {device}, filters of others up to priority {priority} run first: what they keep for themselves is \
                     not seen"
                )
            }));
        }
        Ok(())
    }
}

fn attach_tcx(program: &mut SchedClassifier, device: &str, feature: Feature) -> Result<Link, ProgramError> {
    if forced(feature) {
        let io_error = io::Error::from_raw_os_error(libc::EINVAL);
        return Err(ProgramError::SyscallError(aya::sys::SyscallError { call: TCX_CALL, io_error }));
    }
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    let side = match side(feature) {
        Side::Egress => TcAttachType::Egress,
        Side::Ingress => TcAttachType::Ingress,
    };
    let id = program.attach_with_options(device, side, first)?;
    Ok(Box::new(program.take_link(id)?))
}

/// Where on a device a feature's programs sit.
fn side(feature: Feature) -> Side {
    if feature == Feature::TcIngress { Side::Ingress } else { Side::Egress }
}

/// aya's name for attaching by tcx.
const TCX_CALL: &str = "bpf_mprog_attach";

/// A kernel without tcx does not know the attach type.
fn has_no_tcx(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(e)
        if e.call == TCX_CALL && e.io_error.raw_os_error() == Some(libc::EINVAL))
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
