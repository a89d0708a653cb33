//! What the kinds share that act from user space (`crate::resource`): they have no program in the kernel, and no packets or
//! calls to choose from.

use chaos_common::rule::Rule;

use super::{Fault, Field, Takes};
use crate::{
    bpf::Need,
    config::{Problem, Section},
    resource::Act,
};

/// Fields that other kinds have, and what is wrong with them here.
const NOT_HERE: [&str; 7] = ["peer", "exclude", "protocol", "local_port", "direction", "flows", "new_only"];

/// Refuses fields about packets and calls.
pub fn refuse_packets(section: &Section<'_>, kind: &str) -> Result<(), Problem> {
    let Some((field, place)) = NOT_HERE.iter().find_map(|field| Some((field, section.place_of(field)?)))
    else {
        return Ok(());
    };
    Err(Problem::at(place, format!("`{field}` means nothing for kind \"{kind}\""), "for no packet or call")
        .help("it acts on the target's processes as a whole: leave it out, or write another kind, such as \"drop\""))
}

/// A field that is given once.
pub const fn field(name: &'static str, value: &'static str, help: &'static str) -> Field {
    Field { name, value, help, takes: Takes::One }
}

/// A fault that acts from user space.
#[derive(Debug)]
pub struct Acting {
    /// The name of its kind.
    pub kind: &'static str,
    /// What it does.
    pub act: Act,
    /// In words.
    pub words: String,
}

impl Fault for Acting {
    fn kind(&self) -> &'static str {
        self.kind
    }

    /// No packet and no call ever meets its rule.
    fn hooks(&self) -> u32 {
        0
    }

    fn encode(&self, _rule: &mut Rule) {}

    fn describe(&self) -> String {
        self.words.clone()
    }

    fn needs(&self) -> &[Need] {
        &[]
    }

    fn acts(&self) -> Option<Act> {
        Some(self.act.clone())
    }
}
