//! Keeps the record of a run of an experiment with probes.
//!
//! What must stay true: whether it can be kept is tried before anything is injected.

use std::path::Path;

use super::Refusal;
use crate::{
    config::Experiment,
    record::{self, By, File, Record, origin, store::Store},
    steady::{Done, Seen},
};

/// Where the record of one run goes.
pub struct Recorder(Option<Store>);

impl Recorder {
    /// Tries whether records can be kept in `dir`, if there is going to be one.
    pub fn open(dir: &Path, experiment: &Experiment) -> Result<Self, Refusal> {
        if experiment.probes.is_empty() {
            return Ok(Self(None));
        }
        let store = Store::open(dir).map_err(|error| Refusal::cannot(error.to_string()))?;
        Ok(Self(Some(store)))
    }

    /// Of a run whose faults were on. What was found out is in the status all the same.
    pub fn keep(&self, experiment: &Experiment, done: &Done) {
        self.put(experiment, |by, file| record::of(experiment, by, file, done));
    }

    /// Of one whose faults never went on.
    pub fn keep_nothing(&self, experiment: &Experiment, seen: &Seen) {
        self.put(experiment, |by, file| record::of_nothing(experiment, by, file, seen));
    }

    fn put(&self, experiment: &Experiment, record: impl FnOnce(By, File) -> Record) {
        let Some(store) = &self.0 else { return };
        let mut record = record(origin::by("daemon"), origin::file(None, experiment.document()));
        match store.put(&mut record) {
            Ok(place) => tracing::info!("recorded in {}", place.display()),
            Err(error) => tracing::error!("{error}"),
        }
    }
}
