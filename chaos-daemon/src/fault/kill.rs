//! `kill`: processes of the target get a signal. What it does: `crate::resource::kill`.

use std::time::Duration;

use toml::Spanned;

use super::{
    Fault, Field, Kind,
    resources::{Acting, field, refuse_packets},
};
use crate::{
    config::{
        Packets, Problem, Section,
        value::{Span, StopSignal},
    },
    resource::{Act, kill},
};

/// No process is started again faster.
const SHORTEST: Duration = Duration::from_millis(100);

/// The kind.
pub struct Kill;

impl Kind for Kill {
    fn name(&self) -> &'static str {
        "kill"
    }

    fn elsewhere(&self) -> &'static [&'static str] {
        &["process-kill", "pod-kill", "container-kill", "signal", "crash"]
    }

    fn about(&self) -> &'static str {
        "Kill processes of the target, once or again and again"
    }

    fn fields(&self) -> &'static [Field] {
        const FIELDS: [Field; 3] = [
            field("signal", "SIGNAL", "What they get: SIGTERM, SIGHUP, SIGUSR1, ... (SIGKILL)"),
            field("which", "one|all", "One of them, drawn each time (the default), or all"),
            field("every", "DURATION", "Again so often (once)"),
        ];
        &FIELDS
    }

    fn acts(&self) -> bool {
        true
    }

    fn read(&self, section: &mut Section<'_>) -> Result<(Box<dyn Fault>, Packets), Problem> {
        refuse_packets(section, self.name())?;
        let signal = section.get::<StopSignal>("signal")?.map_or(StopSignal::KILL, Spanned::into_inner);
        let all = which(section)?;
        let every = section.get::<Span>("every")?;
        if let Some(every) = every.as_ref().filter(|every| every.get_ref().0 < SHORTEST) {
            return Err(Problem::at(every.span(), format!("every {} is too often", every.get_ref()), "here")
                .help(format!("give the processes {} at least: nothing would ever start", Span(SHORTEST))));
        }
        let every = every.map(|every| every.into_inner().0);
        let whom = if all { "all processes" } else { "one process" };
        let when = every.map_or(String::new(), |every| format!(" every {}", Span(every)));
        Ok((
            Box::new(Acting {
                kind: self.name(),
                words: format!("send {signal} to {whom}{when}"),
                act: Act::Kill(kill::Kill { signal: signal.0, all, every }),
            }),
            Packets::default(),
        ))
    }

    fn demo(&self) -> (&'static str, &'static str) {
        (
            "which = \"all\"\nevery = \"1s\"",
            "the service is killed every second and started again: connections break, and some are refused",
        )
    }
}

fn which(section: &mut Section<'_>) -> Result<bool, Problem> {
    let Some(which) = section.get::<String>("which")? else { return Ok(false) };
    match which.get_ref().as_str() {
        "one" => Ok(false),
        "all" => Ok(true),
        other => Err(Problem::at(which.span(), format!("\"{other}\" does not say which processes"), "here")
            .help("write \"one\" for one of them, drawn each time, or \"all\"")),
    }
}
