//! Keeps the record of a run in the foreground: of every experiment with probes, and of others if they are asked for one.
//!
//! What must stay true: whether it can be kept is tried before anything is injected.

use std::path::Path;

use super::{Failure, foreground::Origin};
use crate::{
    config::Experiment,
    record::{
        self, By, File, Record, origin,
        store::{self, Store, StoreError},
    },
    steady::{Done, Seen},
};

/// Where the record of one run goes.
pub struct Recorder {
    place: Option<(Store, By, File)>,
}

impl Recorder {
    /// Tries whether records can be kept. `dir` is where they are asked for.
    pub fn open(experiment: &Experiment, dir: Option<&Path>, origin: Origin<'_>) -> Result<Self, Failure> {
        if dir.is_none() && experiment.probes.is_empty() {
            return Ok(Self { place: None });
        }
        let store = Store::open(&dir.map_or_else(store::default_dir, Path::to_owned))?;
        let file = origin::file(origin.path, experiment.document());
        Ok(Self { place: Some((store, origin::by(origin.through), file)) })
    }

    /// Of a run whose faults were on.
    pub fn keep(&self, experiment: &Experiment, done: &Done) -> Result<(), Failure> {
        Ok(self.put(|by, file| record::of(experiment, by, file, done))?)
    }

    /// Of one whose faults never went on. That it could not start is what matters then.
    pub fn keep_nothing(&self, experiment: &Experiment, seen: &Seen) {
        if let Err(error) = self.put(|by, file| record::of_nothing(experiment, by, file, seen)) {
            tracing::warn!("{error}");
        }
    }

    fn put(&self, record: impl FnOnce(By, File) -> Record) -> Result<(), StoreError> {
        let Some((store, by, file)) = &self.place else { return Ok(()) };
        let place = store.put(&mut record(by.clone(), file.clone()))?;
        eprintln!("kchaos: recorded in {}", place.display());
        Ok(())
    }
}
