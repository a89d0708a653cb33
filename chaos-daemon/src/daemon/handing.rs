//! Handing an experiment over: checked against its file and the guard rails, then given a thread.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::sync::{oneshot, watch};

use super::{
    Daemon, Peer, Phase, Refusal, Status,
    entry::{About, Entry, Times},
    registry::Job,
    settings, worker,
};
use crate::{
    config::{self, Experiment},
    engine::Ended,
};

/// How long a start may take before the one who asked is told that it goes on.
const START: Duration = Duration::from_secs(30);

/// What became of an experiment that was handed over.
#[derive(Clone, Debug)]
pub enum Handed {
    /// It was taken.
    New(Status),
    /// It was there already.
    Known(Status),
}

enum Entered {
    Known { uid: String },
    New { uid: String, settled: oneshot::Receiver<()> },
}

impl Daemon {
    /// Takes an experiment over, and waits until it runs, waits for its time, or has failed. `request` is what the
    /// caller calls this request: the same one again starts nothing.
    pub async fn apply(
        self: &Arc<Self>,
        peer: &Peer,
        name: Option<&str>,
        document: &str,
        request: Option<&str>,
    ) -> Result<Handed, Refusal> {
        let words = format!("apply {}", name.unwrap_or("(unnamed)"));
        // What cannot be written down is not started.
        self.audit.request(peer, &words, Some(document)).map_err(|error| self.not_written(&error))?;
        let handed = self.take_over(name, document, request).await;
        let answer = match &handed {
            Ok(Handed::New(status)) => format!("{} {} is {}", status.name, status.uid, status.phase.name()),
            Ok(Handed::Known(status)) => format!("{} {} was there already", status.name, status.uid),
            Err(refusal) => {
                self.totals.refused();
                refusal.message.clone()
            }
        };
        if let Err(error) = self.audit.answer(peer, &words, &answer) {
            self.not_written(&error);
        }
        handed
    }

    async fn take_over(
        self: &Arc<Self>,
        name: Option<&str>,
        document: &str,
        request: Option<&str>,
    ) -> Result<Handed, Refusal> {
        let parsed = config::parse("the document", document, name.unwrap_or("experiment"));
        let experiment = parsed.map_err(|error| Refusal::from(error.problem()))?;
        if let Some(name) = name.filter(|name| *name != experiment.name) {
            let message = format!("the file is called {}, and was handed over as {name}", experiment.name);
            return Err(Refusal::bad(crate::printable::printable(&message)));
        }
        self.settings.rails.check(&experiment)?;
        let name = experiment.name.clone();
        let (uid, is_new) = match self.enter(experiment, document, request)? {
            Entered::Known { uid } => (uid, false),
            Entered::New { uid, settled } => {
                // That its thread has gone says as much as a word from it.
                let _late_or_gone = tokio::time::timeout(START, settled).await;
                (uid, true)
            }
        };
        if let Some(refusal) = self.refusal(&name, &uid) {
            return Err(refusal);
        }
        let status = self.status(&name).await.ok_or_else(|| Refusal::unknown(&name))?;
        Ok(if is_new { Handed::New(status) } else { Handed::Known(status) })
    }

    /// Why it did not start, if it is still known.
    fn refusal(&self, name: &str, uid: &str) -> Option<Refusal> {
        let experiments = self.experiments();
        experiments.get(name).filter(|entry| entry.uid == uid)?.refusal.clone()
    }

    /// Makes an entry, and the thread that looks after it.
    fn enter(
        self: &Arc<Self>,
        experiment: Experiment,
        document: &str,
        request: Option<&str>,
    ) -> Result<Entered, Refusal> {
        let name = experiment.name.clone();
        let mut experiments = self.experiments();
        if self.closing.load(Ordering::Relaxed) {
            return Err(Refusal::cannot("the daemon is ending, and takes nothing over any more"));
        }
        if let Some(uid) = known(&experiments, &name, document, request)? {
            return Ok(Entered::Known { uid });
        }
        self.forget_some(&mut experiments)?;
        let (orders, order) = watch::channel(None);
        let (settled, wait) = oneshot::channel();
        let uid = fresh_uid().map_err(|error| Refusal::bug(format!("making a unique number: {error}")))?;
        let entry = Entry {
            uid: uid.clone(),
            request: request.map(ToOwned::to_owned),
            document: document.to_owned(),
            about: About::of(&experiment),
            phase: Phase::Pending,
            end: None,
            message: String::new(),
            next_start: None,
            times: Times { applied: SystemTime::now(), started: None, ended: None },
            is_done: false,
            is_told: false,
            runs: 0,
            orders,
            live: None,
            reach: None,
            // A start that fails must not take the evidence of an earlier run with it.
            done: experiments.get(&name).and_then(|known| known.done.clone()),
            refusal: None,
        };
        let (daemon, job_name, job_uid) = (Arc::clone(self), name.clone(), uid.clone());
        let job = Job { daemon, name: job_name, uid: job_uid, experiment, orders: order, settled };
        worker::start(job)
            .map_err(|error| Refusal::cannot(format!("no thread for another experiment: {error}")))?;
        experiments.insert(name.clone(), entry);
        let event = self.events.tell(&name, &uid, Phase::Pending, None, "handed over");
        drop(experiments);
        if let Err(refusal) = self.write_down(&event) {
            self.order(&name, &uid, Ended::Interrupted("a full audit log".to_owned()));
            return Err(refusal);
        }
        Ok(Entered::New { uid, settled: wait })
    }

    /// Makes room for one more: ended ones are forgotten, those that
    /// never ran and those that ended first.
    fn forget_some(&self, experiments: &mut BTreeMap<String, Entry>) -> Result<(), Refusal> {
        let alive = experiments.values().filter(|entry| entry.is_alive()).count();
        if alive >= settings::MOST as usize {
            return Err(Refusal::cannot(format!(
                "{alive} experiments wait or run: that is as many as are kept"
            )));
        }
        while experiments.len() - alive > self.settings.kept {
            let ended = experiments.iter().filter(|(_, entry)| !entry.is_alive());
            let Some(oldest) = ended
                .min_by_key(|(_, entry)| (entry.runs > 0, entry.times.ended))
                .map(|(name, _)| name.clone())
            else {
                break;
            };
            experiments.remove(&oldest);
        }
        Ok(())
    }
}

/// The hand-over that this one repeats, if it does. The error is that something else of that name waits or runs.
fn known(
    experiments: &BTreeMap<String, Entry>,
    name: &str,
    document: &str,
    request: Option<&str>,
) -> Result<Option<String>, Refusal> {
    let Some(known) = experiments.get(name) else { return Ok(None) };
    let same_request = request.is_some() && known.request.as_deref() == request;
    if same_request || known.is_alive() && known.document == document {
        return Ok(Some(known.uid.clone()));
    }
    if !known.is_alive() {
        return Ok(None);
    }
    let message = format!("another experiment called {name} is {}", known.phase.name());
    Err(Refusal::conflict(message)
        .help(format!("wait for its end or end it (kchaos halt {name}), or give this one another name")))
}

/// A random UUID (RFC 9562), from the kernel.
fn fresh_uid() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}
