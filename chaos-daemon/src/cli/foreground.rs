//! An experiment in the foreground: started, kept alive, shown, ended, reported.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{Exit, Failure, Format, output, progress::Progress, recorder::Recorder, report};
use crate::{
    annotate::{Annotations, Mark},
    bpf,
    config::{Experiment, Selector},
    engine::{self, Ended, Options, Outcome, Run, Session, StartError},
    metrics::{self, Exporter, Snapshot},
    record::Finding,
    steady::{Done, Trial},
    target::Command,
};

/// Flags of everything that runs in the foreground.
#[derive(Debug, Default, clap::Args)]
// Flattened into the arguments of several verbs: a group of its own would have the same name in all of them.
#[group(skip)]
pub struct Args {
    /// Serve Prometheus metrics on this address, at /metrics, while the experiment runs
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Keep a record in a folder below this one; with probes there is one anyway, in /var/lib/kchaos/records
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Looks up what the file names, and at its stop conditions, and applies nothing. A command that is the target is not
/// started.
pub fn dry_run(experiment: &Experiment) -> Result<(), Failure> {
    runtime()?.block_on(async {
        look_ahead(experiment).await?;
        Ok(engine::check_stops(experiment, None).await?)
    })
}

/// What the file names must be there, as far as that can be seen before anything is started.
async fn look_ahead(experiment: &Experiment) -> Result<(), StartError> {
    engine::check(experiment).await?;
    if matches!(experiment.target.get_ref().selector, Selector::Command(_)) {
        return Ok(engine::check_paths(experiment, std::iter::empty())?);
    }
    let target = engine::resolve(experiment, experiment.seed.unwrap_or(0)).await?;
    Ok(engine::check_paths(experiment, target.members.iter().map(|member| &member.cgroup))?)
}

/// A runtime of one thread, this one: a command that is the target is tied to the thread that started it
/// (`PR_SET_PDEATHSIG`).
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}

/// Where an experiment comes from, for its record.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The verb: `run` or `inject`.
    pub through: &'static str,
    /// Its file, if it was one.
    pub path: Option<&'a Path>,
}

/// Runs the experiment to its end and prints what it did.
pub fn run(experiment: Experiment, args: &Args, origin: Origin<'_>) -> Result<Exit, Failure> {
    bpf::prepare_loader();
    let recorder = Recorder::open(&experiment, args.record.as_deref(), origin)?;
    let (done, kept) = runtime()?.block_on(drive(experiment, args, recorder))?;
    match args.output {
        Format::Json => output::json(&done)?,
        Format::Text => output::text(&report::all(&done))?,
    }
    // What was found out has been said, whether it could be written down or not.
    kept?;
    Ok(exit(&done.outcome, done.seen.verdict.verdict))
}

fn exit(outcome: &Outcome, verdict: Finding) -> Exit {
    match (verdict, &outcome.ended) {
        (Finding::Held, _) | (Finding::NotAsked, Ended::TimeBox | Ended::CommandEnded(_)) => Exit::Done,
        (Finding::Falsified, _) => Exit::Falsified,
        (Finding::Inconclusive, _) => Exit::Inconclusive,
        (
            Finding::Stopped | Finding::NotAsked,
            Ended::Interrupted(_) | Ended::Halted | Ended::StopCondition { .. } | Ended::TargetGone,
        )
        | (Finding::Stopped, Ended::TimeBox | Ended::CommandEnded(_)) => Exit::Stopped,
    }
}

/// What came of it, and whether its record could be kept.
async fn drive(
    experiment: Experiment,
    args: &Args,
    recorder: Recorder,
) -> Result<(Done, Result<(), Failure>), Failure> {
    // Handlers first: a Ctrl-C during the start must end cleanly, too.
    let mut signals = Signals::install().context("installing signal handlers")?;
    let listener = listen(args.metrics).await?;
    let own_ports = listener.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.port()).collect();
    let mut annotations = Annotations::new(experiment.annotate.as_ref())?;
    let mut trial = Trial::begin(&experiment)?;
    let options = Options { own_ports, spares_kchaos: true, load: trial.load(), ..Options::default() };
    let session = start(experiment, &trial, &options, &mut signals, &recorder).await?;
    trial.faults_are_on(&session);
    annotations.began(|| Mark::began(&session));
    let progress = Progress::start(&session);
    let mut run = Run::of(session, trial.load());
    let server = listener.map(|listener| tokio::spawn(metrics::serve(listener, scraper(&run))));

    let asked = async { Ended::Interrupted(signals.next().await.to_owned()) };
    let at_tick = |session: &Session| {
        progress.show(session);
        trial.note(session);
    };
    let ended = run.until_its_end(asked, at_tick).await;
    let outcome = run.stop(ended).await?;
    drop(progress);
    if !matches!(outcome.ended, Ended::Interrupted(_)) {
        if trial.asks_something() {
            eprintln!("kchaos: the faults are off; waiting for steady state");
        }
        trial.recover(signals.next()).await;
    }
    let session = run.session();
    let session = session.lock().await;
    let done = trial.end(&session.experiment, outcome);
    let kept = recorder.keep(&session.experiment, &done);
    let mark = Mark::ended(&session, &done);
    drop(session);
    if let Some(server) = server {
        server.abort();
    }
    if let (Some(command), false) = (&mut run.command, matches!(done.outcome.ended, Ended::CommandEnded(_))) {
        end_command(command, &mut signals).await?;
    }
    tokio::select! {
        () = annotations.ended(|| mark) => {}
        _ = signals.next() => {}
    }
    Ok((done, kept))
}

/// Switches the faults on, once steady state was seen for long enough.
async fn start(
    experiment: Experiment,
    trial: &Trial,
    options: &Options<'_>,
    signals: &mut Signals,
    recorder: &Recorder,
) -> Result<Session, Failure> {
    let stopped =
        |name| Failure::StopsAtOnce(format!("nothing was applied: stopped by {name} before the start"));
    // Names, stop conditions and steady state may take seconds. Nothing waits any more when something is attached.
    let is_steady = tokio::select! {
        is_steady = look_at_steady_state(&experiment, trial) => is_steady,
        name = signals.next() => return Err(stopped(name)),
    };
    if let Err(Failure::NotSteady(why)) = &is_steady {
        recorder.keep_nothing(&experiment, &trial.never_began(&experiment, why));
    }
    is_steady?;
    tokio::select! {
        session = Session::start(experiment, options) => Ok(session?),
        name = signals.next() => Err(stopped(name)),
    }
}

/// Mistakes are found before anybody waits.
async fn look_at_steady_state(experiment: &Experiment, trial: &Trial) -> Result<(), Failure> {
    if trial.asks_something() {
        look_ahead(experiment).await?;
        eprintln!("kchaos: looking at steady state before anything is applied");
    }
    Ok(trial.baseline().await?)
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let wrong = |e| Failure::Input(format!("--metrics {address}: cannot listen there: {e}"));
    let listener = metrics::listen(address).await.map_err(wrong)?;
    eprintln!("kchaos: metrics at http://{}/metrics", listener.local_addr().map_err(wrong)?);
    Ok(Some(listener))
}

async fn end_command(command: &mut Command, signals: &mut Signals) -> anyhow::Result<()> {
    eprintln!("kchaos: nothing is injected any more; ending the command");
    tokio::select! {
        stopped = command.stop() => stopped.map(drop).context("ending the target's command"),
        // A second Ctrl-C: do not wait for it; its cgroup is killed when the session goes.
        _ = signals.next() => Ok(()),
    }
}

fn scraper(
    run: &Run,
) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Clone + use<> {
    let (session, standings) = (run.session(), run.standings());
    let exporter = Arc::new(Exporter::default());
    move || {
        let (session, standings, exporter) = (session.clone(), standings.clone(), exporter.clone());
        Box::pin(async move {
            let session = session.lock().await;
            Snapshot::of(&session, standings.now())
                .map(|snapshot| exporter.render(&snapshot))
                .map_err(|e| e.to_string())
        })
    }
}

/// The signals that end an experiment cleanly.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From here on they no longer end the process by themselves.
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them and says which.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
