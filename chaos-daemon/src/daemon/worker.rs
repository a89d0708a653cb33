//! The life of one experiment, in a thread of its own with a runtime of its own: loading programs takes the kernel a while,
//! and the leases of others must not wait for it.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::{
    End, Note, Phase, Refusal, alarm,
    entry::Reach,
    notes::Noted,
    recorder::Recorder,
    registry::{Job, Over},
    time,
};
use crate::{
    annotate::{Annotations, Mark},
    bpf::BpfError,
    config::Experiment,
    engine::{self, Ended, Options, Run, Session, StartError},
    guard::memory,
    schedule::{self, Next},
    steady::{Done, Trial},
};

/// Starts the thread.
pub fn start(job: Job) -> io::Result<()> {
    thread::Builder::new().name("experiment".to_owned()).spawn(move || live(job)).map(drop)
}

fn live(job: Job) {
    let Job { daemon, name, uid, experiment, orders, settled } = job;
    let mut life = Life {
        daemon: Arc::clone(&daemon),
        name: name.clone(),
        uid: uid.clone(),
        orders,
        settled: Some(settled),
        untold: None,
    };
    // Every line that this thread logs is about this experiment.
    let _logged = tracing::info_span!("experiment", experiment = name).entered();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let lived = catch_unwind(AssertUnwindSafe(|| match &runtime {
        Ok(runtime) => runtime.block_on(life.run(experiment)),
        Err(error) => failed(Refusal::cannot(format!("no runtime for another experiment: {error}"))),
    }));
    // With its session gone, so are its faults; what it panicked with has been printed.
    let over = lived.unwrap_or_else(|_| failed(Refusal::bug("a bug in kchaos: its thread panicked")));
    daemon.over(&name, &uid, over, false);
    daemon.is_done(&name, &uid);
    // Only now is there something to say to the one who asked.
    life.settle();
    if let Ok(runtime) = &runtime {
        runtime.block_on(life.tell());
    }
    daemon.is_told(&name, &uid);
    drop(runtime);
    memory::give_back();
}

struct Life {
    daemon: Arc<super::Daemon>,
    name: String,
    uid: String,
    orders: watch::Receiver<Option<Ended>>,
    settled: Option<oneshot::Sender<()>>,
    /// Whom to tell that it is over, and what.
    untold: Option<(Annotations, Mark)>,
}

fn failed(refusal: Refusal) -> Over {
    Over { end: End::Failed, message: refusal.message.clone(), done: None, refusal: Some(refusal) }
}

fn ended(end: &Ended, done: Option<Done>) -> Over {
    let how = match end {
        Ended::TimeBox | Ended::CommandEnded(_) => End::Completed,
        Ended::Halted => End::Halted,
        Ended::Interrupted(_) | Ended::TargetGone | Ended::StopCondition { .. } => End::Stopped,
    };
    let message = done.as_ref().map_or_else(|| end.to_string(), Done::in_words);
    Over { end: how, message, done, refusal: None }
}

impl Life {
    /// Runs once, or again and again as long as each run comes to its own end: what was stopped, halted or has failed is
    /// not tried again.
    async fn run(&mut self, mut experiment: Experiment) -> Over {
        let mut last = None;
        loop {
            if let Err(over) = self.wait(&experiment, last).await {
                return over;
            }
            let started = Timestamp::now();
            let again = experiment.schedule.every.is_some().then(|| experiment.again());
            if let Err(refusal) = self.begin() {
                return failed(refusal);
            }
            let over = Box::pin(self.once(experiment)).await;
            let Some(Ok(next)) = again.filter(|_| over.end == End::Completed) else { return over };
            experiment = next;
            last = Some(schedule::Run { started, ended: Timestamp::now() });
            let is_known = self.daemon.over(&self.name, &self.uid, over, true);
            self.tell().await;
            // Somebody has handed over another one of this name in between: this one is over.
            if !is_known {
                return failed(Refusal::conflict("another experiment has taken its place"));
            }
        }
    }

    /// What cannot be written down is not started.
    fn begin(&self) -> Result<(), Refusal> {
        match self.daemon.step(&self.name, &self.uid, Phase::Checking, "") {
            Some(written) => written,
            None => Err(Refusal::conflict("another experiment has taken its place")),
        }
    }

    /// Waits until it may start, or is not to start any more.
    async fn wait(&mut self, experiment: &Experiment, last: Option<schedule::Run>) -> Result<(), Over> {
        let (schedule, duration) = (&experiment.schedule, experiment.duration);
        loop {
            let now = Timestamp::now();
            let next =
                schedule.next_start(now, duration, last, &self.daemon.settings.rails.forbidden_windows);
            let at = match &next {
                Next::Now => return Ok(()),
                Next::At(at) => *at,
                Next::Never { why } => {
                    return Err(failed(Refusal::conflict(format!("it can never start: {why}"))));
                }
            };
            self.daemon.waits(&self.name, &self.uid, at, &schedule.on_the_wall(at));
            self.settle();
            tokio::select! {
                biased;
                end = told(&mut self.orders) => return Err(ended(&end, None)),
                rung = alarm::until(at) => rung.map_err(|error| {
                    failed(Refusal::cannot(format!("it cannot wait for its time: {error}")))
                })?,
            }
        }
    }

    async fn once(&mut self, experiment: Experiment) -> Over {
        let name = self.name.clone();
        // Names and stop conditions may take seconds. Nothing waits any more when something is attached.
        let mut orders = self.orders.clone();
        let checked = tokio::select! {
            biased;
            end = told(&mut orders) => return ended(&end, None),
            checked = self.checked(experiment) => checked,
        };
        let experiment = match checked {
            Ok(experiment) => experiment,
            Err(refusal) => return failed(refusal),
        };
        let note = Note {
            experiment: name,
            uid: self.uid.clone(),
            target: experiment.target.get_ref().selector.to_string(),
            since: time::now(),
        };
        // Before anything is applied. It is for whoever comes after a crash, and not what an experiment should fail for.
        let noted = Noted::down(&note).map_err(|error| tracing::warn!("noting that it runs: {error}"));
        let recorder = match Recorder::open(&self.daemon.settings.records, &experiment) {
            Ok(recorder) => recorder,
            Err(refusal) => return failed(refusal),
        };
        let wanted = experiment.annotate.as_ref().or(self.daemon.settings.annotate.as_ref());
        let annotations = match Annotations::new(wanted) {
            Ok(annotations) => annotations,
            Err(error) => return failed(Refusal::bad(error.to_string())),
        };
        let mut trial = match Trial::begin(&experiment) {
            Ok(trial) => trial,
            Err(error) => return failed(Refusal::not_steady(error.to_string())),
        };
        let started = tokio::select! {
            biased;
            end = told(&mut orders) => return ended(&end, None),
            started = self.start(experiment, &trial, &recorder) => started,
        };
        let over = match started {
            Ok(session) => {
                trial.faults_are_on(&session);
                Box::pin(self.inject(session, trial, recorder, annotations))
                    .await
                    .unwrap_or_else(|error| failed(StartError::from(error).into()))
            }
            Err(refusal) => failed(refusal),
        };
        drop(noted);
        over
    }

    /// Looks everything up and switches the faults on.
    async fn start(
        &self,
        experiment: Experiment,
        trial: &Trial,
        recorder: &Recorder,
    ) -> Result<Session, Refusal> {
        if let Err(why) = trial.baseline().await {
            recorder.keep_nothing(&experiment, &trial.never_began(&experiment, &why));
            return Err(Refusal::not_steady(why.to_string()));
        }
        let rails = &self.daemon.settings.rails;
        let (schedule, duration) = (experiment.schedule.clone(), experiment.duration);
        let may_start = |switch| {
            // What was looked up meanwhile may have taken until its window was about to close.
            let next = schedule.next_start(Timestamp::now(), duration, None, &rails.forbidden_windows);
            if next != Next::Now {
                return Err(
                    "its window closed while it was being checked, or one opened in which nothing may run"
                        .to_owned(),
                );
            }
            self.daemon.is_armed(&self.name, &self.uid, switch)
        };
        let options = Options {
            before_arming: Some(&may_start),
            own_ports: self.daemon.own_ports.clone(),
            protected_peers: rails.forbidden_peers.clone(),
            forbidden: rails.forbidden_targets.clone(),
            spares_kchaos: true,
            load: trial.load(),
        };
        Ok(Session::start(experiment, &options).await?)
    }

    /// Whether the target is free, and allowed. It is looked up once more when the experiment starts.
    async fn checked(&self, mut experiment: Experiment) -> Result<Experiment, Refusal> {
        let seed = *experiment.seed.get_or_insert_with(engine::fresh_seed);
        let target = engine::resolve(&experiment, seed).await?;
        self.daemon.claim(&self.name, Reach::of(&target))?;
        Ok(experiment)
    }

    async fn inject(
        &mut self,
        session: Session,
        mut trial: Trial,
        recorder: Recorder,
        mut annotations: Annotations,
    ) -> Result<Over, BpfError> {
        let target = session.target().to_owned();
        annotations.began(|| Mark::began(&session));
        let mut run = Run::of(session, trial.load());
        self.daemon.is_live(&self.name, &self.uid, Arc::downgrade(&run.session()), run.standings());
        self.step(Phase::Running, &format!("on {target}"));
        self.settle();
        let end = run.until_its_end(told(&mut self.orders), |session| trial.note(session)).await;
        // Before the next phase is told, written down, or waits for anybody.
        self.daemon.switch_off(&self.name, &self.uid)?;
        self.step(Phase::Recovering, &end.to_string());
        let outcome = run.stop(end.clone()).await?;
        // One that was told to end is not waited for, and nor is one that is told to meanwhile.
        trial.recover(told(&mut self.orders)).await;
        let session = run.session();
        let session = session.lock().await;
        let done = trial.end(&session.experiment, outcome);
        recorder.keep(&session.experiment, &done);
        self.untold = Some((annotations, Mark::ended(&session, &done)));
        drop(session);
        Ok(ended(&end, Some(done)))
    }

    /// Whether it is still known.
    fn step(&self, phase: Phase, message: &str) -> bool {
        self.daemon.step(&self.name, &self.uid, phase, message).is_some()
    }

    /// Tells those who want to know. It is over for everybody else.
    async fn tell(&mut self) {
        if let Some((annotations, mark)) = self.untold.take() {
            annotations.ended(|| mark).await;
        }
    }

    /// There is something to say to the one who asked.
    fn settle(&mut self) {
        if let Some(settled) = self.settled.take() {
            let _nobody_waits = settled.send(());
        }
    }
}

/// Waits until the experiment is told to end. One whose daemon has forgotten it runs on to the end of its time box.
async fn told(orders: &mut watch::Receiver<Option<Ended>>) -> Ended {
    match orders.wait_for(Option::is_some).await.map(|order| order.clone()) {
        Ok(Some(end)) => end,
        _ => std::future::pending().await,
    }
}
