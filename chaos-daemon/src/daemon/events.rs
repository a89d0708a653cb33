//! What happens to experiments, in the order in which it happens: for those who follow, and, for a while, for those who
//! come later.
//!
//! What must stay true: numbers have no gaps, and one who follows is told when they were too slow for some.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use utoipa::ToSchema;

use super::{End, Phase, time};

/// How many are kept.
const KEPT: usize = 1000;

/// What others have said may be long; so many characters of it are kept.
const LONGEST: usize = 1000;

/// How many may follow at a time: they keep their connections, and others want some, too.
const FOLLOWERS: usize = 64;

/// Something that happened to an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Counts from 1, without gaps, since the daemon has started.
    pub number: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// The experiment.
    pub experiment: String,
    /// Its hand-over: unique, also among those of the same name.
    pub uid: String,
    /// What it has become.
    pub phase: Phase,
    /// If it has ended, how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Why, in one sentence; empty where there is nothing to say.
    pub message: String,
}

/// Those of one daemon.
pub struct Events {
    kept: Mutex<Kept>,
    sender: broadcast::Sender<Arc<Event>>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    events: VecDeque<Arc<Event>>,
    /// How often something became each of [`Phase::ALL`].
    became: [u64; Phase::ALL.len()],
}

impl Default for Events {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            sender: broadcast::Sender::new(KEPT),
            places: Arc::new(Semaphore::new(FOLLOWERS)),
        }
    }
}

impl Events {
    /// Tells of a new phase.
    pub fn tell(
        &self,
        experiment: &str,
        uid: &str,
        phase: Phase,
        end: Option<End>,
        message: &str,
    ) -> Arc<Event> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        if let Some(count) =
            Phase::ALL.iter().position(|other| *other == phase).and_then(|at| kept.became.get_mut(at))
        {
            *count += 1;
        }
        let event = Arc::new(Event {
            number: kept.last,
            time: time::now(),
            experiment: experiment.to_owned(),
            uid: uid.to_owned(),
            phase,
            end,
            message: message.chars().take(LONGEST).collect(),
        });
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::clone(&event));
        // Under the lock, so that they are sent in their order. That nobody listens is no error.
        let _nobody = self.sender.send(Arc::clone(&event));
        event
    }

    /// How often an experiment became what, in the order of [`Phase::ALL`]: as often as was told.
    pub fn became(&self) -> [u64; Phase::ALL.len()] {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).became
    }

    /// A place among those who follow, free again when it is dropped. `None`: there is none.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Those after this number that are kept, and all that come.
    pub fn after(&self, number: u64) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = kept.events.iter().filter(|event| event.number > number).cloned().collect();
        (missed, self.sender.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_come_later_miss_nothing_that_is_kept() {
        let events = Events::default();
        for _ in 0..KEPT + 3 {
            events.tell("x", "1", Phase::Running, None, "");
        }
        let (missed, mut next) = events.after(0);
        assert_eq!((KEPT, 4), (missed.len(), missed[0].number));
        assert_eq!(2, events.after(KEPT as u64 + 1).0.len());
        assert_eq!([0, 0, KEPT as u64 + 3, 0, 0], events.became());
        events.tell("x", "1", Phase::Ended, Some(End::Completed), "over");
        assert_eq!(KEPT as u64 + 4, next.try_recv().unwrap().number);
    }
}
