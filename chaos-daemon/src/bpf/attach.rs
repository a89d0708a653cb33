//! Programs loaded, attached to the target's cgroups, and detached. ([`super::devices`] does it for network devices.)
//!
//! Links are BPF links wherever the kernel has them: objects that live as long as this process holds their descriptor,
//! so that a killed kchaos leaves nothing attached. Egress before Linux 6.6 is the exception: see [`super::clsact`].

use std::{collections::BTreeSet, os::fd::AsFd};

use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, Program, ProgramError,
};
use chaos_common::scope::{MAX_DEPTHS, MAX_TARGETS};

use super::{BpfError, Feature, Level, Object, call::Hooked, feature::Place, tc::Link};
use crate::{guard::run_dir, line::Way, target::Cgroup};

/// Where programs were attached, and by which ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Devices with a program on them, with the inode of their network namespace.
    pub devices: Vec<(u64, String)>,
    /// How packets wait that must, by the inode of the network namespace.
    pub lines: Vec<(u64, Way)>,
    /// Calls that are caught, and how.
    pub calls: Vec<Hooked>,
    /// Features that work by their second-best way only.
    pub reduced: Vec<Feature>,
    /// What else is not as it should be, in words.
    pub remarks: Vec<String>,
}

impl Attached {
    /// What a person should know about it: no second-best way is taken in silence.
    pub fn notes(&self) -> Vec<String> {
        // Of delay lines each has its own reason, which is said where it is.
        let said = |feature: &&Feature| **feature != Feature::DelayLine || self.lines.is_empty();
        let ways = self.reduced.iter().filter(said).filter_map(|feature| {
            let reduced = feature.reduced()?;
            Some(format!("{feature} by {}, as there is no better way: {}", reduced.way, reduced.loss))
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

    /// Where everything sits now.
    pub fn attached(&self) -> Attached {
        let calls = self.calls.as_ref();
        Attached {
            devices: self.devices(),
            lines: self.line_ways(),
            calls: calls.map_or_else(Vec::new, |calls| calls.hooked().to_vec()),
            reduced: self.features().filter(|f| self.level(*f) == Level::Reduced).collect(),
            remarks: self
                .remarks
                .iter()
                .chain(calls.iter().flat_map(|calls| calls.remarks()))
                .cloned()
                .collect(),
        }
    }

    /// Makes a cgroup part of the target: attaches the programs that sit on cgroups, and counts its packets in.
    pub fn attach_cgroup(&mut self, cgroup: &Cgroup) -> Result<(), BpfError> {
        self.check_room(cgroup)?;
        let links = self.attach_to(&cgroup.dir)?;
        self.cgroups.insert(cgroup.id, (cgroup.level, links));
        self.set_target(cgroup.id, true)
    }

    /// Whether one more can be told apart from others: asked before anything is attached to it.
    fn check_room(&self, cgroup: &Cgroup) -> Result<(), BpfError> {
        let levels = self.cgroups.values().map(|(level, _)| *level).chain([cgroup.level]);
        if levels.collect::<BTreeSet<u32>>().len() > MAX_DEPTHS {
            return Err(BpfError::TooManyDepths);
        }
        if self.cgroups.len() >= MAX_TARGETS {
            return Err(BpfError::TooManyTargets);
        }
        Ok(())
    }

    /// Lets go of every cgroup that is not among `stay`.
    pub fn leave_cgroups(&mut self, stay: &BTreeSet<u64>) -> Result<(), BpfError> {
        let gone: Vec<u64> = self.cgroups.keys().filter(|id| !stay.contains(id)).copied().collect();
        for id in gone {
            self.set_target(id, false)?;
            self.cgroups.remove(&id);
        }
        Ok(())
    }

    /// Attaches the programs for cgroups to the one whose directory this is.
    fn attach_to(&mut self, dir: impl AsFd) -> Result<Vec<Link>, BpfError> {
        // The kernel makes every BPF link on a cgroup "allow multiple": others' programs stay and run too.
        const MODE: CgroupAttachMode = CgroupAttachMode::Single;
        let mut links: Vec<Link> = Vec::new();
        self.each_program(|feature, name, program| {
            let attached: Result<Option<Link>, ProgramError> = match (feature.place(), program) {
                (Place::Devices | Place::Line | Place::Kernel, _) => Ok(None),
                (Place::Cgroup, Program::CgroupSkb(p)) => p
                    .attach(&dir, CgroupSkbAttachType::Ingress, MODE)
                    .and_then(|id| Ok(Some(Box::new(p.take_link(id)?) as Link))),
                (Place::Cgroup, Program::CgroupSockAddr(p)) => CgroupSockAddr::attach(p, &dir, MODE)
                    .and_then(|id| Ok(Some(Box::new(p.take_link(id)?) as Link))),
                (Place::Cgroup, _) => Err(ProgramError::UnexpectedProgramType),
            };
            let link = attached.map_err(|error| BpfError::Program {
                feature,
                step: "attaching",
                program: name,
                error,
            })?;
            links.extend(link);
            Ok(())
        })?;
        Ok(links)
    }

    /// Detaches and unloads every program. The maps stay, so that the last counts can be read. Answers with what was
    /// not as it should be.
    pub fn detach(&mut self) -> Result<Vec<String>, BpfError> {
        self.flush_log();
        self.cgroups.clear();
        let unseen = self.calls.as_mut().and_then(|calls| calls.let_go());
        self.namespaces.clear();
        let mut notes = self.filters.detach(|_, _| true, run_dir::PATIENCE);
        notes.extend(unseen);
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
