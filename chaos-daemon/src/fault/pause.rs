//! `pause`: the target stands still. What it does: `crate::resource::pause`.

use std::sync::Arc;

use super::{
    Fault, Field, Kind,
    resources::{Acting, refuse_packets},
};
use crate::{
    config::{Packets, Problem, Section, value::Span},
    resource::{Act, pause},
};

/// The kind.
pub struct Pause;

impl Kind for Pause {
    fn name(&self) -> &'static str {
        "pause"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["freeze", "stop", "suspend", "hang", "container-pause"]
    }

    fn about(&self) -> &'static str {
        "Make the target stand still: its processes neither run nor answer"
    }

    fn fields(&self) -> &'static [Field] {
        // Of one fault from flags the time box says how long, which is --for, too.
        &[]
    }

    fn acts(&self) -> bool {
        true
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        refuse_packets(section, self.name())?;
        let lasts = section.get::<Span>("for")?;
        if let Some(lasts) = &lasts {
            let wrong =
                |message: &str, help: &str| Err(Problem::at(lasts.span(), message, "here").help(help));
            if lasts.get_ref().0.is_zero() {
                return wrong("a pause of no length is none", "write how long: for = \"3s\"");
            }
            if section.place_of("pulse").is_some() {
                return wrong(
                    "`for` and `pulse` both say how long it lasts",
                    "leave out one of them: pulse = { on = \"3s\", off = \"7s\" } pauses again and again",
                );
            }
        }
        let lasts = lasts.map(|lasts| lasts.into_inner().0);
        let long = lasts.map_or(String::new(), |lasts| format!(" for {}", Span(lasts)));
        let act = Act::Hold(Arc::new(pause::Pause { lasts }));
        Ok((Box::new(Acting { kind: self.name(), words: format!("pause{long}"), act }), Packets::default()))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "pulse = { on = \"200ms\", off = \"800ms\" }",
            "the service stands still for 200 ms of every second: some requests take that long, none fails",
        )
    }
}
