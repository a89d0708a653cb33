//! The end of an experiment: its faults go off, what waits is delivered, everything is detached, and only then the counts
//! are final.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        outcome::{CaughtCall, DelayLine, Ended, FaultOutcome, Outcome, seconds},
        wait_for_running_programs,
    },
    Session,
};
use crate::bpf::{BpfError, call::Hooked};

/// How long packets that wait are still delivered after the end, those that are due by then.
const LINGER: Duration = Duration::from_secs(1);

/// How often is looked whether packets wait still.
const LOOK: Duration = Duration::from_millis(1);

/// Faults that were just switched off.
struct Off {
    ran: Duration,
    halted: Result<(), BpfError>,
    acted: Vec<String>,
}

impl Session {
    /// Switches the faults off, detaches everything, and takes the final counts. What waits is delivered when it is due;
    /// but the end is the end, and nobody wants to wait for minutes.
    pub fn stop(&mut self, ended: Ended) -> Result<Outcome, BpfError> {
        let off = self.switch_off();
        let until = Instant::now() + LINGER;
        while self.packets_wait() && Instant::now() < until {
            thread::sleep(LOOK);
        }
        self.take_off(off, ended)
    }

    /// The same, and others go on meanwhile: looks at probes that are under way would be late otherwise.
    pub async fn stop_beside_others(&mut self, ended: Ended) -> Result<Outcome, BpfError> {
        let off = self.switch_off();
        let until = Instant::now() + LINGER;
        while self.packets_wait() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        self.take_off(off, ended)
    }

    fn switch_off(&mut self) -> Off {
        let ran = self.elapsed().min(self.experiment.duration);
        Off { ran, halted: self.object.halt(), acted: self.resources.stop() }
    }

    /// Whether something waits that may still be delivered. Where nobody can tell, the counts that come next say why.
    fn packets_wait(&self) -> bool {
        self.object.packets_wait().unwrap_or(false)
    }

    /// Detaches everything from faults that are off, and takes the final counts.
    fn take_off(&mut self, off: Off, ended: Ended) -> Result<Outcome, BpfError> {
        let Off { ran, halted, acted } = off;
        let attached = self.object.attached();
        let mut notes = attached.notes();
        notes.extend(self.object.detach()?);
        notes.extend(acted);
        halted?;
        wait_for_running_programs();
        if let forgotten @ 1.. = self.object.forgotten_connections()? {
            notes.push(format!(
                "{forgotten} connections were forgotten to make room for others: what was asked of each (`after`, \
                 `new_only`, `first`, `per = \"flow\"`) began anew when it came again"
            ));
        }
        let undelivered = self.object.waiting()?;
        let counters = self.counters()?;
        let faults = self.experiment.faults.iter().zip(&self.tables.rules).zip(&counters);
        Ok(Outcome {
            experiment: self.experiment.name.clone(),
            hypothesis: self.experiment.hypothesis.clone(),
            mode: self.experiment.mode.name(),
            seed: self.seed,
            target: self.target.clone(),
            duration_seconds: seconds(self.experiment.duration),
            ran_seconds: seconds(ran),
            started_ns: self.started_ns,
            ended,
            notes,
            members: self.picked.clone(),
            changes: self.changes.list.clone(),
            more_changes: self.changes.more,
            delay_lines: attached
                .lines
                .into_iter()
                .map(|(network_namespace, way)| DelayLine { network_namespace, way: way.name() })
                .collect(),
            calls: attached
                .calls
                .into_iter()
                .map(|Hooked { call, way, functions }| CaughtCall { call: call.name(), way, functions })
                .collect(),
            undelivered,
            faults: faults
                .map(|((spec, rule), counters)| FaultOutcome::of(spec, rule, counters, self.started_ns))
                .collect(),
        })
    }
}
