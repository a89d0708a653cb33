//! `memory`: the target is squeezed to a part of its memory. What it does: `crate::resource::memory`.

use std::sync::Arc;

use toml::Spanned;

use super::{
    Fault, Field, Kind, Takes,
    resources::{Acting, field, refuse_packets},
};
use crate::{
    config::{
        Packets, Problem, Section,
        value::{Share, Truth},
    },
    resource::{Act, memory},
};

/// The kind.
pub struct Memory;

impl Kind for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["memory-hog", "memory-stress", "mem", "oom"]
    }

    fn about(&self) -> &'static str {
        "Squeeze the target to a part of the memory that it uses"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 2] = [
            field("to", "SHARE", "How much of what is in use when it begins: 50%"),
            Field {
                name: "oom",
                value: "",
                help: "Refuse more than that: the kernel kills a process of the target if need be",
                takes: Takes::Nothing,
            },
        ];
        &FIELDS
    }

    fn acts(&self) -> bool {
        true
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        refuse_packets(section, self.name())?;
        let to = section.need::<Share>("to", "\"50%\", of what is in use when it begins")?;
        if to.get_ref().fraction() <= 0.0 {
            return Err(Problem::at(to.span(), "nothing can run in no memory", "here")
                .help("write a share of more than 0, such as \"50%\""));
        }
        let to = to.into_inner();
        let oom = section.get::<Truth>("oom")?.map(Spanned::into_inner).is_some_and(|truth| truth.0);
        let kills = if oom { ", killing if need be" } else { "" };
        let words = format!("squeeze memory to {to} of what is in use{kills}");
        let act = Act::Hold(Arc::new(memory::Memory { to, oom }));
        Ok((Box::new(Acting { kind: self.name(), words, act }), Packets::default()))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "to = \"50%\"",
            "the service must do with half of its memory, which is little already: some requests are late",
        )
    }
}
