//! `cpu`: the target gets less time of a CPU. What it does: `crate::resource::cpu`.

use std::sync::Arc;

use super::{
    Fault, Field, Kind,
    resources::{Acting, field, refuse_packets},
};
use crate::{
    config::{Packets, Problem, Section, value::CpuTime},
    resource::{Act, cpu},
};

/// The kind.
pub struct Cpu;

impl Kind for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["cpu-hog", "cpu-stress", "cpu-throttle", "throttle-cpu"]
    }

    fn about(&self) -> &'static str {
        "Give the target less time of the CPUs"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 1] =
            [field("quota", "SHARE", "How much of one CPU: 20%, or 150% for one and a half")];
        &FIELDS
    }

    fn acts(&self) -> bool {
        true
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        refuse_packets(section, self.name())?;
        let quota = section.need::<CpuTime>("quota", "\"20%\", of one CPU")?.into_inner();
        let act = Act::Hold(Arc::new(cpu::Cpu { cpus: quota.0 }));
        let words = format!("allow {quota} of a CPU");
        Ok((Box::new(Acting { kind: self.name(), words, act }), Packets::default()))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "quota = \"5%\"",
            "the service gets a twentieth of a CPU: the slowest requests take a tenth of a second",
        )
    }
}
