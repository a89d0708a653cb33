//! `kchaos daemon`: experiments of a node, handed over at the control socket.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::{net::TcpListener, time::MissedTickBehavior};

use super::{
    Exit, Failure,
    foreground::{Signals, runtime},
    output,
};
use crate::{
    api::{self, Server},
    bpf,
    daemon::{self, Audit, Daemon, LogFormat, Settings},
    guard::{
        capabilities, files, leftovers, memory,
        run_dir::{self, Lock},
    },
    metrics,
    printable::printable,
};

/// Arguments of `kchaos daemon`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its settings, a TOML file; without it, the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The control socket, instead of the one that the settings name
    #[arg(long, value_name = "PATH", env = "KCHAOS_SOCKET")]
    socket: Option<PathBuf>,
    /// Check the settings, and start nothing
    #[arg(long)]
    check: bool,
}

/// How long experiments may take to end with the daemon.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs it until SIGTERM, SIGINT or SIGHUP.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    let mut settings = match &args.config {
        Some(path) => daemon::load_settings(path)?,
        None => Settings::default(),
    };
    if let Some(socket) = &args.socket {
        settings.socket.clone_from(socket);
    }
    if args.check {
        output::text("the settings are right\n")?;
        return Ok(Exit::Done);
    }
    output::init_log(settings.log == LogFormat::Json);
    capabilities::check()?;
    memory::share();
    files::raise();
    bpf::prepare_loader();
    let lock = only_one()?;
    report_the_dead();
    runtime()?.block_on(serve(settings))?;
    drop(lock);
    Ok(Exit::Done)
}

fn only_one() -> Result<Lock, Failure> {
    run_dir::lock(daemon::LOCK, Duration::from_millis(200)).map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut => Failure::Host("a kchaos daemon runs on this host already".to_owned()),
        _ => Failure::Host(format!("cannot lock {}/{}: {error}", run_dir::PATH, daemon::LOCK)),
    })
}

/// What was running when the last daemon died, and what it left behind. Nothing is started by itself.
fn report_the_dead() {
    for note in daemon::of_the_dead() {
        tracing::warn!(
            experiment = printable(&note.experiment),
            uid = printable(&note.uid),
            "was running on {} since {} when its daemon died; its faults ended with it, and it is not started again",
            printable(&note.target),
            printable(&note.since)
        );
    }
    // Without the right to look, there is nothing that could be told from what is in use.
    if capabilities::check_clean().is_err() {
        return;
    }
    match leftovers::clean() {
        Ok(cleaned) => {
            cleaned.removed.iter().for_each(|what| tracing::warn!("removed {what}"));
            cleaned.stuck.iter().for_each(|what| tracing::warn!("could not remove {what}"));
        }
        Err(error) => tracing::warn!("looking for what a killed kchaos left: {error}"),
    }
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    // Handlers first: a SIGTERM during the start must end cleanly, too.
    let mut signals = Signals::install().context("installing signal handlers")?;
    let audit = Audit::open(&settings.audit_log).map_err(|error| {
        let path = settings.audit_log.display();
        Failure::Host(format!(
            "the audit log {path} cannot be written: {error}\nname another one: audit_log = \"/path\""
        ))
    })?;
    let listener = listen(&settings).await?;
    let socket = settings.socket.clone();
    let server = Server::listen(&socket)
        .map_err(|error| Failure::Host(format!("cannot listen at {}: {error}", socket.display())))?;
    let own_ports =
        listener.iter().filter_map(|l| l.local_addr().ok()).map(|address| address.port()).collect();
    let daemon = Daemon::new(settings, audit, own_ports);
    tracing::info!("listening at {}", socket.display());
    if let Some(listener) = listener {
        let daemon = Arc::clone(&daemon);
        let scrape = move || {
            let daemon = Arc::clone(&daemon);
            async move { Ok(daemon.scrape().await) }
        };
        serve_metrics(listener, scrape).context("starting the thread for metrics")?;
    }
    notify(&[NotifyState::Ready]);
    let why = tokio::select! {
        () = api::serve(&server, Arc::clone(&daemon)) => "the control socket",
        () = watchdog() => "the watchdog",
        name = signals.next() => name,
    };
    notify(&[NotifyState::Stopping]);
    tracing::info!("ending everything: {why}");
    tokio::select! {
        () = daemon.end_all(why, PATIENCE) => {}
        // A second signal: do not wait. What is still attached goes with this process.
        _ = signals.next() => {}
    }
    if let Err(error) = daemon.audit.close(why) {
        tracing::error!("the audit log: {error}");
    }
    Ok(())
}

/// In a thread of their own: whoever asks for them, and how often, keeps nobody from the control socket.
fn serve_metrics<F, R>(listener: std::net::TcpListener, scrape: F) -> anyhow::Result<()>
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<String, String>> + Send + 'static,
{
    let runtime = runtime()?;
    let served = move || {
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => metrics::serve(listener, scrape).await,
                Err(error) => tracing::error!("metrics are not served: {error}"),
            }
        });
    };
    std::thread::Builder::new().name("metrics".to_owned()).spawn(served)?;
    Ok(())
}

async fn listen(settings: &Settings) -> Result<Option<std::net::TcpListener>, Failure> {
    let Some(address) = settings.metrics else { return Ok(None) };
    let listener = metrics::listen(address).await.map_err(|error| {
        Failure::Input(format!(
            "metrics cannot be served at {address}: {error}\nname another address in the settings: metrics = \
             \"127.0.0.1:9188\", or \"off\""
        ))
    })?;
    tracing::info!("metrics at http://{address}/metrics");
    Ok(Some(listener.into_std().context("the socket for metrics")?))
}

/// Tells systemd that this thread still runs, twice as often as it wants to hear.
async fn watchdog() {
    let Some(interval) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(interval / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell, which is no error.
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("telling systemd: {error}");
    }
}
