//! The life of a running experiment, whoever asked for it: its lease is extended until its time box is over, its target
//! is gone, a stop condition holds, or somebody wants it to end.
//!
//! What must stay true: nothing here waits for anything but time, so that no lease runs out while an experiment should
//! inject; and the reason that is found first is the one that is told.

use std::{
    io,
    process::ExitStatus,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{self, MissedTickBehavior},
};

use super::{Ended, LEASE_TICK, Life, Outcome, Session};
use crate::{
    bpf::BpfError,
    guard::stop::{Standings, Tripped, Watch},
    load::Statistics,
    measure::{Counts, Inside},
    target::{self, Command},
};

/// An experiment that injects, and who may look at it meanwhile.
pub struct Run {
    session: Arc<Mutex<Session>>,
    /// The command that is its target.
    pub command: Option<Command>,
    /// Its stop conditions.
    watch: Watch,
}

impl Run {
    /// Takes it over, and begins to watch its stop conditions; `load` is that of the experiment, if it has one.
    pub fn of(mut session: Session, load: Option<Arc<Statistics>>) -> Self {
        let command = session.command.take();
        let stops = session.experiment.stops.clone();
        let session = Arc::new(Mutex::new(session));
        let watch = Watch::start(&stops, &Inside { counts: counts(&session), load });
        Self { session, command, watch }
    }

    /// How its stop conditions stand, for those who look at it while it runs.
    pub fn standings(&self) -> Standings {
        self.watch.standings()
    }

    /// For those who look at it while it runs: its lease waits for them.
    pub fn session(&self) -> Arc<Mutex<Session>> {
        Arc::clone(&self.session)
    }

    /// Keeps it alive, and answers why it is to end: `asked` if that comes before anything else. `at_tick` sees it each
    /// time its lease was extended. The faults are on until [`Self::stop`], or until their time is over.
    pub async fn until_its_end(
        &mut self,
        asked: impl Future<Output = Ended>,
        mut at_tick: impl FnMut(&Session),
    ) -> Ended {
        let mut ticks = time::interval(LEASE_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(asked);
        loop {
            let left = self.session.lock().await.left();
            tokio::select! {
                // In this order: a deadline that has passed is a deadline that has passed, whatever else happened.
                biased;
                () = time::sleep(left) => {
                    if self.session.lock().await.left() == Duration::ZERO {
                        return Ended::TimeBox;
                    }
                }
                ended = &mut asked => return ended,
                Tripped { name, why } = self.watch.tripped() => return Ended::StopCondition { name, why },
                status = ended_by_itself(&mut self.command) => {
                    return Ended::CommandEnded(status.map_or_else(|e| e.to_string(), target::in_words));
                }
                _ = ticks.tick() => {
                    let mut session = self.session.lock().await;
                    match session.keep_alive() {
                        Ok(Life::GoesOn) => at_tick(&session),
                        Ok(Life::Halted) => return Ended::Halted,
                        Ok(Life::TargetGone) => return Ended::TargetGone,
                        // What was done until then is reported all the same.
                        Err(error) => return Ended::Interrupted(error.to_string()),
                    }
                }
            }
        }
    }

    /// Switches the faults off, detaches everything, and says what was done. A command still runs.
    pub async fn stop(&self, ended: Ended) -> Result<Outcome, BpfError> {
        self.session.lock().await.stop_beside_others(ended).await
    }
}

/// What the faults have done so far. Only asked for by those who still have it: it does not keep a session alive.
fn counts(session: &Arc<Mutex<Session>>) -> Counts {
    let session = Arc::downgrade(session);
    Arc::new(move || {
        let session = Weak::clone(&session);
        Box::pin(async move {
            let session = session.upgrade().ok_or("the experiment is over")?;
            session.lock().await.counters().map_err(|error| error.to_string())
        })
    })
}

/// Never, where there is no command.
async fn ended_by_itself(command: &mut Option<Command>) -> io::Result<ExitStatus> {
    match command {
        Some(command) => command.ended().await,
        None => std::future::pending().await,
    }
}
