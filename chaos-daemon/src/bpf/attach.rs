//! Programs loaded, and linked to their hooks.
//!
//! Links are BPF links only: kernel objects that live as long as this process holds their descriptor, so that a killed
//! kchaos leaves nothing attached.

use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, LinkOrder, Program, ProgramError,
    SchedClassifier, TcAttachType, tc::TcAttachOptions,
};

use super::{BpfError, Feature, Object};
use crate::target::{Target, inside};

/// Where programs were attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Devices with a program on them, with the inode of their network namespace.
    pub devices: Vec<(u64, String)>,
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
        if self.features.iter().any(|f| *f != Feature::TcEgress) {
            self.attach_cgroup(&target.cgroup.dir)?;
        }
        if self.features.contains(&Feature::TcEgress) {
            for namespace in &target.namespaces {
                let devices = inside(namespace, || {
                    let devices = devices()?;
                    self.attach_devices(&devices)?;
                    Ok::<_, BpfError>(devices)
                })??;
                attached.devices.extend(devices.into_iter().map(|name| (namespace.inode, name)));
            }
        }
        Ok(attached)
    }

    /// Attaches the programs for packets to devices of the network namespace this thread is in, before all others there.
    pub fn attach_devices(&mut self, devices: &[String]) -> Result<(), BpfError> {
        self.each_program(|feature, name, program| {
            let Program::SchedClassifier(program) = program else { return Ok(()) };
            for device in devices {
                match attach_egress(program, device) {
                    Ok(()) => {}
                    // A device that went away since the list was made sends no packets.
                    Err(_) if !exists(device) => tracing::debug!("device {device} is gone"),
                    Err(error) => {
                        return Err(BpfError::Program { feature, step: "attaching", program: name, error });
                    }
                }
            }
            Ok(())
        })
    }

    /// Attaches the programs for a cgroup.
    pub fn attach_cgroup(&mut self, dir: &std::fs::File) -> Result<(), BpfError> {
        // The kernel makes every BPF link on a cgroup "allow multiple": others' programs stay and run too.
        const MODE: CgroupAttachMode = CgroupAttachMode::Single;
        self.each_program(|feature, name, program| {
            let attached = match program {
                Program::CgroupSkb(p) => p.attach(dir, CgroupSkbAttachType::Ingress, MODE).map(drop),
                Program::CgroupSockAddr(p) => CgroupSockAddr::attach(p, dir, MODE).map(drop),
                _ => Ok(()),
            };
            attached.map_err(|error| BpfError::Program { feature, step: "attaching", program: name, error })
        })
    }

    /// Detaches and unloads every program. The maps stay, so that the last counts can be read.
    pub fn detach(&mut self) -> Result<(), BpfError> {
        self.flush_log();
        self.each_program(|feature, name, program| {
            let unloaded = match program {
                Program::SchedClassifier(p) => p.unload(),
                Program::CgroupSkb(p) => CgroupSkb::unload(p),
                Program::CgroupSockAddr(p) => p.unload(),
                _ => Ok(()),
            };
            match unloaded {
                Ok(()) | Err(ProgramError::NotLoaded) => Ok(()),
                Err(error) => Err(BpfError::Program { feature, step: "detaching", program: name, error }),
            }
        })
    }

    fn each_program(
        &mut self,
        mut work: impl FnMut(Feature, &'static str, &mut Program) -> Result<(), BpfError>,
    ) -> Result<(), BpfError> {
        for feature in self.features.clone() {
            for name in feature.programs() {
                let program = self.ebpf.program_mut(name).ok_or(BpfError::Absent(name))?;
                work(feature, name, program)?;
            }
        }
        Ok(())
    }
}

fn attach_egress(program: &mut SchedClassifier, device: &str) -> Result<(), ProgramError> {
    program
        .attach_with_options(device, TcAttachType::Egress, TcAttachOptions::TcxOrder(LinkOrder::first()))
        .map(drop)
}

fn devices() -> Result<Vec<String>, BpfError> {
    let list = nix::net::if_::if_nameindex()
        .map_err(|e| BpfError::Io { what: "listing network devices".into(), error: e.into() })?;
    Ok(list.into_iter().map(|d| d.name().to_string_lossy().into_owned()).collect())
}

fn exists(device: &str) -> bool {
    nix::net::if_::if_nametoindex(device).is_ok()
}
