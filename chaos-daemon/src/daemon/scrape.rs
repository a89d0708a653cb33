//! What a daemon shows to Prometheus: the counts of every experiment that runs, read from the kernel, and its own.
//!
//! Every scrape starts with nothing, so that experiments that are over leave nothing behind.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{counter, describe_counter, describe_gauge, gauge};

use super::{Daemon, End, Phase, registry::A_MOMENT};
use crate::metrics::{Exporter, Snapshot};

/// What has been counted since the daemon has started.
#[derive(Debug, Default)]
pub struct Totals {
    ends: [AtomicU64; End::ALL.len()],
    refused: AtomicU64,
    halts: AtomicU64,
    unwritten: AtomicU64,
}

impl Totals {
    /// A run is over.
    pub fn ended(&self, end: End) {
        if let Some(count) = End::ALL.iter().position(|other| *other == end).and_then(|at| self.ends.get(at))
        {
            count.fetch_add(1, Relaxed);
        }
    }

    /// An experiment was handed over, and not taken.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Somebody asked for a halt.
    pub fn halted(&self) {
        self.halts.fetch_add(1, Relaxed);
    }

    /// Something could not be written into the audit log.
    pub fn unwritten(&self) {
        self.unwritten.fetch_add(1, Relaxed);
    }
}

impl Daemon {
    /// The text of one scrape.
    pub async fn scrape(&self) -> String {
        let exporter = Exporter::default();
        for (name, session, standings) in self.running() {
            // One that is just ending keeps its session for a while, and has a gap then.
            let Ok(session) = tokio::time::timeout(A_MOMENT, session.lock()).await else { continue };
            match Snapshot::of(&session, standings.now()) {
                Ok(snapshot) => exporter.note(&snapshot),
                // Its series are missing, which is what Prometheus calls a gap.
                Err(error) => tracing::warn!(experiment = name, "reading its counters: {error}"),
            }
        }
        exporter.with(|| self.note());
        exporter.text()
    }

    fn note(&self) {
        describe_gauge!("kchaos_build_info", "1, with the version of kchaos.");
        describe_gauge!("kchaos_experiments", "Experiments that the daemon knows, by phase.");
        describe_counter!("kchaos_transitions_total", "How often an experiment came to a phase.");
        describe_counter!("kchaos_experiment_ends_total", "Runs that have ended, by how.");
        describe_counter!(
            "kchaos_experiments_refused_total",
            "Experiments that were handed over and not taken."
        );
        describe_counter!("kchaos_halts_total", "Requests to halt.");
        describe_counter!(
            "kchaos_audit_failures_total",
            "Lines that could not be written into the audit log."
        );
        gauge!("kchaos_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let phases: Vec<Phase> = self.experiments().values().map(|entry| entry.phase).collect();
        for phase in Phase::ALL {
            let count = phases.iter().filter(|other| **other == phase).count();
            gauge!("kchaos_experiments", "phase" => phase.name()).set(count as f64);
        }
        let Totals { ends, refused, halts, unwritten } = &self.totals;
        for (phase, count) in Phase::ALL.iter().zip(self.events.became()) {
            counter!("kchaos_transitions_total", "phase" => phase.name()).absolute(count);
        }
        for (end, count) in End::ALL.iter().zip(ends) {
            counter!("kchaos_experiment_ends_total", "end" => end.name()).absolute(count.load(Relaxed));
        }
        counter!("kchaos_experiments_refused_total").absolute(refused.load(Relaxed));
        counter!("kchaos_halts_total").absolute(halts.load(Relaxed));
        counter!("kchaos_audit_failures_total").absolute(unwritten.load(Relaxed));
    }
}
