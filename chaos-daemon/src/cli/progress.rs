//! What is shown while an experiment runs: on a terminal a bar with the time left and the live counts, elsewhere a
//! line at the start.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::printable::printable;
use crate::{config::value::Span, engine::Session};

/// The bar, or nothing.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Says what is going on, and starts the bar.
    pub fn start(session: &Session) -> Self {
        announce(session);
        if !std::io::stderr().is_terminal() {
            return Self { bar: None };
        }
        let length = u64::try_from(session.experiment.duration.as_millis()).unwrap_or(u64::MAX);
        let bar = ProgressBar::new(length);
        // The template is a constant; if it were wrong, the plain bar is good enough.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {prefix} left  {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar: Some(bar) }
    }

    /// Shows the time left and the counts.
    pub fn show(&self, session: &Session) {
        let Some(bar) = &self.bar else { return };
        // Counts that cannot be read are missed at the end; the bar is not what an experiment should fail for.
        let counters = session.counters().unwrap_or_default();
        let faults = session.experiment.faults.iter().zip(counters);
        let counts: Vec<String> =
            faults.map(|(fault, c)| format!("{}: {} hit of {}", fault.name, c.hits(), c.matched)).collect();
        bar.set_position(u64::try_from(session.elapsed().as_millis()).unwrap_or(u64::MAX));
        bar.set_prefix(format!("{}s", session.left().as_millis().div_ceil(1000)));
        bar.set_message(counts.join("  "));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// In one piece: the target's command may already be writing to the same terminal.
fn announce(session: &Session) {
    let experiment = &session.experiment;
    let mode = match experiment.mode {
        crate::config::Mode::Inject => "",
        crate::config::Mode::Shadow => ", in shadow mode: nothing is hit",
    };
    let mut lines = vec![format!(
        "{} on {} for {}{mode}; Ctrl-C stops it at once (seed {})",
        experiment.name,
        printable(session.target()),
        Span(experiment.duration),
        session.seed,
    )];
    if session.found_empty {
        lines.push("no process is in the target now".to_owned());
    }
    for (namespace, devices) in by_namespace(session) {
        lines.push(format!("watching {devices} in network namespace {namespace}"));
    }
    let attached = session.attached();
    for (namespace, way) in &attached.lines {
        lines.push(format!("{way} in network namespace {namespace}"));
    }
    for hooked in &attached.calls {
        lines.push(format!(
            "{} is caught by {} ({})",
            hooked.call,
            hooked.way.name(),
            hooked.functions.join(", ")
        ));
    }
    lines.extend(attached.notes());
    let leaving = if experiment.allow_protected { "NOT protecting" } else { "leaving alone, as protected:" };
    for cgroup in session.guard.protected.cgroups.values() {
        lines.push(format!("{leaving} {} in {}", printable(&cgroup.program), printable(&cgroup.name)));
    }
    eprint!(
        "{}",
        lines.iter().map(|line| format!("kchaos: {}\n", printable(line))).collect::<Vec<_>>().concat()
    );
}

fn by_namespace(session: &Session) -> Vec<(u64, String)> {
    let mut found: Vec<(u64, Vec<String>)> = Vec::new();
    for (namespace, device) in session.attached().devices {
        match found.iter_mut().find(|(n, _)| *n == namespace) {
            Some((_, devices)) => devices.push(device),
            None => found.push((namespace, vec![device])),
        }
    }
    found.into_iter().map(|(n, devices)| (n, devices.join(", "))).collect()
}
