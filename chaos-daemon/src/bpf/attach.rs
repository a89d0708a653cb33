//! Programs loaded, and attached to their hooks.
//!
//! Links are BPF links wherever the kernel has them: objects that live as long as this process holds their descriptor, so
//! that a killed kchaos leaves nothing attached. Egress before Linux 6.6 is the exception: see [`super::clsact`].

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, LinkOrder, Program, ProgramError,
    SchedClassifier, TcAttachType, tc::TcAttachOptions,
};

use super::{
    BpfError, Feature, Level, Object,
    clsact::Runs,
    feature::{Place, forced},
};
use crate::engine::boot_ns;
use crate::target::{NetNs, Target, inside};
use chaos_common::control::LEASE_NS;

/// Where programs were attached, and by which ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Devices with a program on them, with the inode of their network namespace.
    pub devices: Vec<(u64, String)>,
    /// Features that work by their second-best way only.
    pub reduced: Vec<Feature>,
    /// What else is not as it should be, in words.
    pub remarks: Vec<String>,
}

impl Attached {
    /// What a person should know about it: no second-best way is taken in silence.
    pub fn notes(&self) -> Vec<String> {
        let ways = self.reduced.iter().filter_map(|feature| {
            let reduced = feature.reduced()?;
            Some(format!("{feature} by {}, as this kernel has no better way: {}", reduced.way, reduced.loss))
        });
        ways.chain(self.remarks.iter().cloned()).collect()
    }
}

impl Object {
    pub(super) fn load_programs(&mut self) -> Result<(), BpfError> {
        self.each_program(|feature, name, program| {
            let loaded = match program {
                Program::SchedClassifier(p) => p.load(),
                Program::CgroupSkb(p) => p.load(),
                Program::CgroupSockAddr(p) => p.load(),
                _ => Err(ProgramError::UnexpectedProgramType),
            };
            loaded.map_err(|error| BpfError::Program { feature, step: "loading", program: name, error })
        })
    }

    /// Attaches every loaded program to the target: all of them or, by dropping what was attached so far, none.
    pub fn attach(&mut self, target: &Target) -> Result<Attached, BpfError> {
        let mut attached = Attached::default();
        self.attach_cgroup(&target.cgroup.dir)?;
        if self.features().any(|feature| feature.place() == Place::Devices) {
            for namespace in &target.namespaces {
                inside(namespace, || {
                    let devices = devices()?;
                    self.attach_devices(namespace, &devices, &mut attached)
                })??;
            }
        }
        attached.reduced = self.features().filter(|f| self.level(*f) == Level::Reduced).collect();
        Ok(attached)
    }

    /// Attaches the programs for packets to devices of `namespace`, which the calling thread must be in, before all others
    /// there.
    fn attach_devices(
        &mut self,
        namespace: &Arc<NetNs>,
        devices: &[Device],
        attached: &mut Attached,
    ) -> Result<(), BpfError> {
        for feature in self.features().filter(|f| f.place() == Place::Devices).collect::<Vec<_>>() {
            for device in devices {
                // Nothing is armed yet. The lease says that we are alive, to whoever looks for what dead ones have left.
                self.extend_lease(boot_ns() + LEASE_NS)?;
                let mut name = device.name.clone();
                let first = loop {
                    let error = match self.attach_egress(feature, namespace, device.index, &name) {
                        Ok(first) => break first,
                        Err(error) => error,
                    };
                    match nix::net::if_::if_indextoname(device.index) {
                        // Renamed since the list was made, as container networks do.
                        Ok(now) if now.to_string_lossy() != name => name = now.to_string_lossy().into_owned(),
                        Ok(_) => return Err(error),
                        // A device that went away sends no packets.
                        Err(_) => break None,
                    }
                };
                attached.remarks.extend(first.map(|priority| {
                    format!(
                        "on {name}, filters of others up to priority {priority} run first: what they keep for themselves \
                         is not seen"
                    )
                }));
                attached.devices.push((namespace.inode, name));
            }
        }
        Ok(())
    }

    /// By tcx, or by clsact where there is no tcx. Answers with the priority of filters that come first.
    fn attach_egress(
        &mut self,
        feature: Feature,
        namespace: &Arc<NetNs>,
        index: u32,
        device: &str,
    ) -> Result<Option<u16>, BpfError> {
        let Self { ebpf, filters, levels, .. } = self;
        for name in feature.programs() {
            let found = ebpf.program_mut(name).ok_or(BpfError::Absent(name))?;
            let Program::SchedClassifier(program) = found else {
                return Err(wrong_type(feature, name));
            };
            if levels.get(&feature) != Some(&Level::Reduced) {
                match attach_tcx(program, device) {
                    Ok(()) => continue,
                    Err(error) if !has_no_tcx(&error) => {
                        return Err(BpfError::Program { feature, step: "attaching", program: name, error });
                    }
                    Err(error) => {
                        tracing::debug!("{device}: {error}: there is no tcx");
                        levels.insert(feature, Level::Reduced);
                    }
                }
            }
            let refused = |error| BpfError::Program { feature, step: "attaching", program: name, error };
            let fd = program.fd().map_err(refused)?.as_fd().as_raw_fd();
            let runs = Runs { fd, id: program.info().map_err(refused)?.id(), name };
            let first = filters
                .attach(namespace, index, device, runs)
                .map_err(|error| BpfError::Clsact { device: device.to_owned(), error })?;
            if first.is_some() {
                return Ok(first);
            }
        }
        Ok(None)
    }

    /// Attaches the programs for a cgroup.
    pub fn attach_cgroup(&mut self, dir: &std::fs::File) -> Result<(), BpfError> {
        // The kernel makes every BPF link on a cgroup "allow multiple": others' programs stay and run too.
        const MODE: CgroupAttachMode = CgroupAttachMode::Single;
        self.each_program(|feature, name, program| {
            let attached = match (feature.place(), program) {
                (Place::Devices, _) => Ok(()),
                (Place::Cgroup, Program::CgroupSkb(p)) => {
                    p.attach(dir, CgroupSkbAttachType::Ingress, MODE).map(drop)
                }
                (Place::Cgroup, Program::CgroupSockAddr(p)) => CgroupSockAddr::attach(p, dir, MODE).map(drop),
                (Place::Cgroup, _) => Err(ProgramError::UnexpectedProgramType),
            };
            attached.map_err(|error| BpfError::Program { feature, step: "attaching", program: name, error })
        })
    }

    /// Detaches and unloads every program. The maps stay, so that the last counts can be read. Answers with what was not
    /// as it should be.
    pub fn detach(&mut self) -> Result<Vec<String>, BpfError> {
        self.flush_log();
        let notes = self.filters.detach();
        self.each_program(|feature, name, program| {
            let unloaded = match program {
                Program::SchedClassifier(p) => p.unload(),
                Program::CgroupSkb(p) => CgroupSkb::unload(p),
                Program::CgroupSockAddr(p) => p.unload(),
                _ => Err(ProgramError::UnexpectedProgramType),
            };
            match unloaded {
                Ok(()) | Err(ProgramError::NotLoaded) => Ok(()),
                Err(error) => Err(BpfError::Program { feature, step: "detaching", program: name, error }),
            }
        })?;
        Ok(notes)
    }

    fn each_program(
        &mut self,
        mut work: impl FnMut(Feature, &'static str, &mut Program) -> Result<(), BpfError>,
    ) -> Result<(), BpfError> {
        for feature in self.features().collect::<Vec<_>>() {
            for name in feature.programs() {
                let program = self.ebpf.program_mut(name).ok_or(BpfError::Absent(name))?;
                work(feature, name, program)?;
            }
        }
        Ok(())
    }
}

fn attach_tcx(program: &mut SchedClassifier, device: &str) -> Result<(), ProgramError> {
    if forced(Feature::TcEgress) {
        let io_error = std::io::Error::from_raw_os_error(libc::EINVAL);
        return Err(ProgramError::SyscallError(aya::sys::SyscallError { call: TCX_CALL, io_error }));
    }
    program
        .attach_with_options(device, TcAttachType::Egress, TcAttachOptions::TcxOrder(LinkOrder::first()))
        .map(drop)
}

/// aya's name for attaching by tcx.
const TCX_CALL: &str = "bpf_mprog_attach";

/// A kernel without tcx does not know the attach type.
fn has_no_tcx(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(e)
        if e.call == TCX_CALL && e.io_error.raw_os_error() == Some(libc::EINVAL))
}

fn wrong_type(feature: Feature, program: &'static str) -> BpfError {
    BpfError::Program { feature, step: "attaching", program, error: ProgramError::UnexpectedProgramType }
}

/// A network device. Its name may change at any time; its number does not while it stays in its namespace.
struct Device {
    index: u32,
    name: String,
}

fn devices() -> Result<Vec<Device>, BpfError> {
    let list = nix::net::if_::if_nameindex()
        .map_err(|e| BpfError::Io { what: "listing network devices".into(), error: e.into() })?;
    Ok(list
        .into_iter()
        .map(|d| Device { index: d.index(), name: d.name().to_string_lossy().into_owned() })
        .collect())
}
