//! All experiments of a daemon, by name, and what can be asked of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::{
    Audit, End, Event, Events, Phase, Refusal, Settings, Status,
    entry::{Entry, Live, Reach},
    scrape::Totals,
};
use crate::{
    bpf::{BpfError, Switch},
    config::Experiment,
    engine::{Ended, Session},
    guard::stop::Standings,
    steady::Done,
};

/// How long a look at counts may take.
pub(super) const A_MOMENT: Duration = Duration::from_millis(50);

/// A daemon.
pub struct Daemon {
    /// What the host's owner says.
    pub settings: Settings,
    /// What happens.
    pub events: Events,
    /// Who asked for it.
    pub audit: Audit,
    /// Ports that the daemon itself listens on.
    pub own_ports: Vec<u16>,
    /// What has been counted.
    pub(super) totals: Totals,
    /// Whether it is ending: nothing is taken over any more.
    pub(super) closing: AtomicBool,
    experiments: Mutex<BTreeMap<String, Entry>>,
}

/// What a thread needs to know of the experiment that it looks after.
pub(super) struct Job {
    pub daemon: Arc<Daemon>,
    pub name: String,
    pub uid: String,
    pub experiment: Experiment,
    pub orders: watch::Receiver<Option<Ended>>,
    /// Tells the one who asked that there is something to say.
    pub settled: oneshot::Sender<()>,
}

impl Daemon {
    /// One without experiments.
    pub fn new(settings: Settings, audit: Audit, own_ports: Vec<u16>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            events: Events::default(),
            audit,
            own_ports,
            totals: Totals::default(),
            closing: AtomicBool::new(false),
            experiments: Mutex::default(),
        })
    }

    /// Never held across anything that waits. A panic under it leaves nothing half-done: entries are replaced whole.
    pub(super) fn experiments(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.experiments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of one experiment, its counts as of now.
    pub async fn status(&self, name: &str) -> Option<Status> {
        let live = {
            let experiments = self.experiments();
            experiments.get(name)?.live.as_ref().and_then(|live| live.session.upgrade())
        };
        let mut seen = None;
        // One that is just ending keeps its session for a while; its counts come with its end.
        let session = match &live {
            Some(session) => tokio::time::timeout(A_MOMENT, session.lock()).await.ok(),
            None => None,
        };
        if let Some(session) = session {
            seen = session.counters().ok().map(|counters| (counters, session.left().as_secs_f64()));
        }
        let experiments = self.experiments();
        let (counters, left) = seen.unzip();
        Some(experiments.get(name)?.status(name, counters.as_deref(), left))
    }

    /// All of them.
    pub async fn list(&self) -> Vec<Status> {
        let names: Vec<String> = self.experiments().keys().cloned().collect();
        let mut list = Vec::with_capacity(names.len());
        for name in names {
            list.extend(self.status(&name).await);
        }
        list
    }

    /// What the last run of an experiment did.
    pub fn record(&self, name: &str) -> Result<Arc<Done>, Refusal> {
        let experiments = self.experiments();
        let entry = experiments.get(name).ok_or_else(|| Refusal::unknown(name))?;
        entry.done.clone().ok_or_else(|| match entry.phase {
            Phase::Ended => {
                let refusal = Refusal::conflict(format!("{name} did not start: {}", entry.message));
                let exit_code = entry.refusal.as_ref().map_or(refusal.exit_code, |why| why.exit_code);
                Refusal { exit_code, ..refusal }
            }
            other => {
                Refusal::conflict(format!("{name} is {}: its record is written at its end", other.name()))
            }
        })
    }

    /// An experiment has come to its next phase. One that was forgotten or replaced meanwhile is left alone.
    /// `None`: it is not known any more. The error is that this could not be written down.
    pub(super) fn step(
        &self,
        name: &str,
        uid: &str,
        phase: Phase,
        message: &str,
    ) -> Option<Result<(), Refusal>> {
        let mut experiments = self.experiments();
        let entry = experiments.get_mut(name).filter(|entry| entry.uid == uid)?;
        if !entry.phase.may_become(phase) {
            tracing::error!("{name}: {} cannot become {}", entry.phase.name(), phase.name());
            return None;
        }
        entry.phase = phase;
        (entry.end, entry.next_start) = (None, None);
        message.clone_into(&mut entry.message);
        let event = self.events.tell(name, uid, phase, None, message);
        drop(experiments);
        Some(self.write_down(&event))
    }

    /// An experiment waits for its time.
    pub(super) fn waits(&self, name: &str, uid: &str, moment: Timestamp, words: &str) {
        let mut experiments = self.experiments();
        if let Some(entry) = experiments.get_mut(name).filter(|entry| entry.uid == uid) {
            entry.message = format!("starts {words}");
            entry.next_start = Some(moment.to_string());
        }
    }

    /// Takes the target for an experiment, unless another one has it.
    pub(super) fn claim(&self, name: &str, reach: Reach) -> Result<(), Refusal> {
        let mut experiments = self.experiments();
        // Those that have come as far as this.
        let busy =
            experiments.iter().filter(|(other, entry)| other.as_str() != name && entry.reach.is_some());
        if busy.clone().count() >= self.settings.rails.experiments {
            let most = self.settings.rails.experiments;
            let names: Vec<&str> = busy.map(|(name, _)| name.as_str()).collect();
            return Err(Refusal::conflict(format!(
                "{most} run here already, and no more may at a time: {}",
                names.join(", ")
            ))
            .help("wait for the end of one, or end one (kchaos halt NAME); the daemon's settings say how many (experiments)"));
        }
        let Some(about) = experiments.get(name).map(|entry| entry.about.clone()) else { return Ok(()) };
        let meets = |(_, entry): &(&String, &Entry)| {
            !entry.about.shadow && entry.reach.as_ref().is_some_and(|other| other.meets(&reach))
        };
        if let (false, Some((other, _))) = (about.shadow || about.alongside, busy.clone().find(meets)) {
            return Err(Refusal::conflict(format!("the experiment {other} runs on the same target"))
                .help("wait for its end, or write `alongside = true` above [target] to have both at once"));
        }
        if let Some(entry) = experiments.get_mut(name) {
            entry.reach = Some(reach);
        }
        Ok(())
    }

    /// The faults of an experiment are about to go on: whoever wants it to end can switch it off from here on. The error
    /// is that somebody has wanted so already.
    pub(super) fn is_armed(&self, name: &str, uid: &str, switch: Switch) -> Result<(), String> {
        let mut experiments = self.experiments();
        let Some(entry) = experiments.get_mut(name).filter(|entry| entry.uid == uid) else {
            return Err("it is not known any more".to_owned());
        };
        if let Some(end) = &*entry.orders.borrow() {
            return Err(end.to_string());
        }
        entry.live = Some(Live { switch, session: Weak::new(), standings: Standings::default() });
        Ok(())
    }

    /// The faults of an experiment are on.
    pub(super) fn is_live(
        &self,
        name: &str,
        uid: &str,
        session: Weak<tokio::sync::Mutex<Session>>,
        standings: Standings,
    ) {
        let mut experiments = self.experiments();
        let Some(entry) = experiments.get_mut(name).filter(|entry| entry.uid == uid) else { return };
        if let Some(live) = &mut entry.live {
            (live.session, live.standings) = (session, standings);
        }
        entry.done = None;
        entry.runs += 1;
        entry.times.started = Some(SystemTime::now());
        entry.times.ended = None;
    }

    /// Whoever wanted to be told of its end has been.
    pub(super) fn is_told(&self, name: &str, uid: &str) {
        if let Some(entry) = self.experiments().get_mut(name).filter(|entry| entry.uid == uid) {
            entry.is_told = true;
        }
    }

    /// Its thread ends: its file is not needed any more.
    pub(super) fn is_done(&self, name: &str, uid: &str) {
        if let Some(entry) = self.experiments().get_mut(name).filter(|entry| entry.uid == uid) {
            (entry.document, entry.is_done) = (String::new(), true);
        }
    }

    /// A run is over. `again`: another one follows, and it waits for that from now on; in between it would be nobody's.
    /// Answers whether it is still known.
    pub(super) fn over(&self, name: &str, uid: &str, over: Over, again: bool) -> bool {
        let mut experiments = self.experiments();
        let Some(entry) = experiments.get_mut(name).filter(|entry| entry.uid == uid) else { return false };
        let Over { end, message, done, refusal } = over;
        entry.phase = Phase::Ended;
        entry.end = Some(end);
        entry.message.clone_from(&message);
        entry.times.ended = Some(SystemTime::now());
        entry.live = None;
        entry.reach = None;
        entry.done = done.map(Arc::new).or_else(|| entry.done.take());
        entry.refusal = refusal;
        self.totals.ended(end);
        let mut events = vec![self.events.tell(name, uid, Phase::Ended, Some(end), &message)];
        if again {
            (entry.phase, entry.end) = (Phase::Pending, None);
            entry.message.clear();
            events.push(self.events.tell(name, uid, Phase::Pending, None, ""));
        }
        drop(experiments);
        for event in &events {
            // Said and counted there; what has ended has ended.
            let _unwritten = self.write_down(event);
        }
        true
    }

    /// Switches the faults of an experiment off, if they are on.
    pub(super) fn switch_off(&self, name: &str, uid: &str) -> Result<(), BpfError> {
        let mut experiments = self.experiments();
        let entry = experiments.get_mut(name).filter(|entry| entry.uid == uid);
        entry.map_or(Ok(()), Entry::switch_off)
    }

    /// Logs an event. Not under the registry's lock: a disk or a terminal that hangs must not keep anything from being
    /// halted.
    pub(super) fn write_down(&self, event: &Event) -> Result<(), Refusal> {
        let Event { experiment, uid, phase, end, message, .. } = event;
        tracing::info!(experiment, uid, phase = phase.name(), end = end.map(End::name), "{message}");
        self.audit.event(event).map_err(|error| self.not_written(&error))
    }

    /// The audit log has no more room, or is gone: said, counted, and the reason to start nothing.
    pub(super) fn not_written(&self, error: &std::io::Error) -> Refusal {
        self.totals.unwritten();
        let path = self.audit.path().display();
        tracing::error!("the audit log {path} cannot be written: {error}");
        Refusal::cannot(format!(
            "the audit log {path} cannot be written: {error}; what cannot be written down is not started"
        ))
    }

    /// The experiments that run: their names and sessions, and how their stop conditions stand.
    pub(super) fn running(&self) -> Vec<(String, Arc<tokio::sync::Mutex<Session>>, Standings)> {
        let experiments = self.experiments();
        let live = |(name, entry): (&String, &Entry)| {
            let Live { session, standings, .. } = entry.live.as_ref()?;
            Some((name.clone(), session.upgrade()?, standings.clone()))
        };
        experiments.iter().filter_map(live).collect()
    }
}

/// The end of a run.
pub(super) struct Over {
    pub end: End,
    pub message: String,
    pub done: Option<Done>,
    pub refusal: Option<Refusal>,
}
