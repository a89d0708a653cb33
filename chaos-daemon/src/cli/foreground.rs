//! An experiment in the foreground: started, kept alive, shown, ended, reported.

use std::{net::SocketAddr, process::ExitStatus, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::Mutex,
    time::{MissedTickBehavior, interval},
};

use super::{Exit, Failure, Format, output, progress::Progress, report};
use crate::{
    config::{Experiment, Selector},
    engine::{self, Ended, LEASE_TICK, Life, Options, Outcome, Session},
    metrics::{self, Exporter, Snapshot},
    target::{self, Command},
};

/// Flags of everything that runs in the foreground.
#[derive(Debug, Default, clap::Args)]
// Flattened into the arguments of several verbs: a group of its own would have the same name in all of them.
#[group(skip)]
pub struct Args {
    /// Serve Prometheus metrics on this address, at /metrics, while the experiment runs
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Looks up what the file names, and applies nothing. A command is not started.
pub fn dry_run(experiment: &Experiment) -> Result<(), Failure> {
    let runtime = runtime()?;
    runtime.block_on(engine::check(experiment))?;
    if matches!(experiment.target.get_ref().selector, Selector::Command(_)) {
        return Ok(());
    }
    runtime.block_on(engine::resolve(experiment, experiment.seed.unwrap_or(0)))?;
    Ok(())
}

/// A runtime of one thread, this one: a command that is the target is tied to the thread that started it
/// (`PR_SET_PDEATHSIG`).
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}

/// Runs the experiment to its end and prints what it did.
pub fn run(experiment: Experiment, args: &Args) -> Result<Exit, Failure> {
    let outcome = runtime()?.block_on(drive(experiment, args))?;
    match args.output {
        Format::Json => output::json(&outcome)?,
        Format::Text => output::text(&report::outcome(&outcome))?,
    }
    Ok(match outcome.ended {
        Ended::TimeBox | Ended::CommandEnded(_) => Exit::Done,
        Ended::Interrupted(_) | Ended::Halted | Ended::TargetGone => Exit::Stopped,
    })
}

async fn drive(experiment: Experiment, args: &Args) -> Result<Outcome, Failure> {
    // Handlers first: a Ctrl-C during the start must end cleanly, too.
    let mut signals = Signals::install().context("installing signal handlers")?;
    let listener = listen(args.metrics).await?;
    let own_ports = listener.iter().filter_map(|l| l.local_addr().ok()).map(|a| a.port()).collect();
    let mut session = Session::start(experiment, &Options { own_ports }).await?;
    let mut command = session.command.take();
    let progress = Progress::start(&session);
    let session = Arc::new(Mutex::new(session));
    let server = listener.map(|listener| tokio::spawn(metrics::serve(listener, scraper(session.clone()))));

    let mut ticks = interval(LEASE_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        let left = session.lock().await.left();
        tokio::select! {
            // In this order: a deadline that has passed is a deadline that has passed, whatever else happened.
            biased;
            () = tokio::time::sleep(left) => if session.lock().await.left() == Duration::ZERO { break Ended::TimeBox },
            name = signals.next() => break Ended::Interrupted(name.to_owned()),
            status = ended_by_itself(&mut command) => {
                break Ended::CommandEnded(status.map_or_else(|e| e.to_string(), target::in_words));
            }
            _ = ticks.tick() => {
                let mut session = session.lock().await;
                match session.keep_alive() {
                    Ok(Life::GoesOn) => {}
                    Ok(Life::Halted) => break Ended::Halted,
                    Ok(Life::TargetGone) => break Ended::TargetGone,
                    // What was done until then is reported all the same.
                    Err(error) => break Ended::Interrupted(error.to_string()),
                }
                progress.show(&session)?;
            }
        }
    };
    let outcome = session.lock().await.stop(ended)?;
    drop(progress);
    if let Some(server) = server {
        server.abort();
    }
    if let (Some(command), false) = (&mut command, matches!(outcome.ended, Ended::CommandEnded(_))) {
        end_command(command, &mut signals).await?;
    }
    Ok(outcome)
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

/// Never, where there is no command.
async fn ended_by_itself(command: &mut Option<Command>) -> std::io::Result<ExitStatus> {
    match command {
        Some(command) => command.ended().await,
        None => std::future::pending().await,
    }
}

fn scraper(
    session: Arc<Mutex<Session>>,
) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Clone {
    let exporter = Arc::new(Exporter::default());
    move || {
        let (session, exporter) = (session.clone(), exporter.clone());
        Box::pin(async move {
            let session = session.lock().await;
            let counters = session.counters().map_err(|e| e.to_string())?;
            let faults = session.experiment.faults.iter().zip(counters);
            Ok(exporter.render(&Snapshot {
                experiment: session.experiment.name.clone(),
                seconds_left: session.left().as_secs_f64(),
                faults: faults.map(|(f, c)| (f.name.clone(), f.fault.kind(), c)).collect(),
            }))
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
