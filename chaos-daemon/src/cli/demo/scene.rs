//! One row of the demo: a fault, or none, and what the client and the kernel saw of it.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, anyhow};
use serde::Serialize;
use tokio::{process::Child, time};

use super::load::Seen;
use crate::{
    bpf::{BpfError, Need},
    cli::Failure,
    config::{self, Experiment},
    engine::{Ended, LEASE_TICK, Life, Options, Outcome, Session, StartError},
    fault::{KINDS, Kind},
    target::{Hierarchy, OwnCgroup},
};

/// The service's port, in a namespace where every port is free.
const PORT: u16 = 7000;

/// How long the service is down when it was killed.
const RESTART: Duration = Duration::from_millis(50);

/// What is shown in a row.
pub enum Scene {
    /// No fault.
    Baseline,
    /// One kind of fault.
    Fault(&'static dyn Kind),
}

/// All rows in order.
pub fn all() -> Vec<Scene> {
    std::iter::once(Scene::Baseline).chain(KINDS.iter().map(|kind| Scene::Fault(*kind))).collect()
}

impl Scene {
    /// Its name.
    pub fn title(&self) -> String {
        match self {
            Self::Baseline => "baseline".to_owned(),
            Self::Fault(kind) => kind.name().to_owned(),
        }
    }
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub struct Row {
    title: String,
    #[serde(flatten)]
    seen: Option<Seen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    note: String,
}

impl Row {
    /// Its cells, in the order of the header.
    pub fn cells(&self) -> Vec<String> {
        let dash = || "-".to_owned();
        let Some(seen) = &self.seen else {
            return vec![self.title.clone(), dash(), dash(), dash(), dash(), dash(), self.note.clone()];
        };
        let errors: Vec<String> = seen.errors.iter().map(|(what, n)| format!("{n} {what}")).collect();
        let injected = self.outcome.as_ref().map_or_else(dash, |o| {
            o.faults.iter().map(|f| format!("{} of {}", f.injected, f.matched)).collect::<Vec<_>>().join(", ")
        });
        vec![
            self.title.clone(),
            seen.requests.to_string(),
            if errors.is_empty() { "none".to_owned() } else { errors.join(", ") },
            format!("{:.1} ms", seen.p50_ms),
            format!("{:.1} ms", seen.p99_ms),
            injected,
            self.note.clone(),
        ]
    }
}

/// The two cgroups, and what starts in them.
pub struct Stage {
    program: String,
    service: OwnCgroup,
    client: OwnCgroup,
    client_path: String,
    service_path: String,
}

impl Stage {
    /// Makes the cgroups.
    pub fn build(hierarchy: &Hierarchy) -> Result<Self, Failure> {
        let program = std::env::current_exe().context("finding this program")?;
        let service = OwnCgroup::create_for(hierarchy, "service")?;
        let client = OwnCgroup::create_for(hierarchy, "client")?;
        let client_path = client.cgroup()?.name;
        let service_path = service.cgroup()?.name;
        Ok(Self { program: program.display().to_string(), service, client, client_path, service_path })
    }

    /// Starts the service, and starts it again whenever it is killed, as a supervisor does. Ends only where that fails.
    pub async fn keep_service(&self) -> Failure {
        loop {
            match self.start_service() {
                Ok(mut service) => {
                    let _killed = service.wait().await;
                }
                Err(error) => return error,
            }
            time::sleep(RESTART).await;
        }
    }

    fn start_service(&self) -> Result<Child, Failure> {
        let words = [self.program.clone(), "demo-serve".into(), PORT.to_string()];
        Ok(self.service.spawn(&words, Stdio::null())?)
    }

    /// Plays one row.
    pub async fn play(&self, scene: &Scene, seconds: u64) -> Result<Row, Failure> {
        let title = scene.title();
        let Scene::Fault(kind) = scene else {
            let seen = self.client(seconds).await?;
            return Ok(Row { title, seen: Some(seen), outcome: None, note: "how it should be".to_owned() });
        };
        let (fields, note) = kind.demo();
        let experiment = self.experiment(*kind, fields, seconds)?;
        let needs: Vec<Need> = experiment.faults[0].fault.needs().to_vec();
        match Session::start(experiment, &Options::default()).await {
            Ok(session) => {
                let (seen, outcome) = Box::pin(self.under(session, seconds)).await?;
                Ok(Row { title, seen: Some(seen), outcome: Some(outcome), note: note.to_owned() })
            }
            Err(StartError::Bpf(error)) => {
                let remedy = match &error {
                    BpfError::OnlyReduced { feature } => {
                        feature.reduced().map_or(feature.remedy(), |r| r.remedy)
                    }
                    _ => needs.first().map_or("", |need| need.feature.remedy()),
                };
                Ok(Row { title, seen: None, outcome: None, note: format!("not on this kernel: {remedy}") })
            }
            Err(StartError::Resource(error)) => {
                Ok(Row { title, seen: None, outcome: None, note: format!("not on this host: {error}") })
            }
            Err(other) => Err(other.into()),
        }
    }

    fn experiment(&self, kind: &dyn Kind, fields: &str, seconds: u64) -> Result<Experiment, Failure> {
        // What acts on processes is shown on the service, by what its client sees.
        let (cgroup, peer) = if kind.acts() {
            (&self.service_path, String::new())
        } else {
            (&self.client_path, format!("peer = \":{PORT}\"\n"))
        };
        // Longer than the client runs: the client starts a moment after the fault.
        let text = format!(
            "name = \"demo-{name}\"\nduration = \"{duration}s\"\n[target]\ncgroup = \"{cgroup}\"\n\
             [[fault]]\nkind = \"{name}\"\n{peer}{fields}\n",
            name = kind.name(),
            duration = seconds + 10,
        );
        Ok(config::parse("the demo's own file", &text, "demo")?)
    }

    async fn under(&self, mut session: Session, seconds: u64) -> Result<(Seen, Outcome), Failure> {
        let keep_alive = async {
            let mut ticks = time::interval(LEASE_TICK);
            loop {
                ticks.tick().await;
                if session.keep_alive()? != Life::GoesOn {
                    return Ok::<_, BpfError>(());
                }
            }
        };
        let seen = tokio::select! {
            seen = self.client(seconds) => seen?,
            ended = keep_alive => {
                ended?;
                return Err(Failure::Input("the demo was halted by kchaos halt".to_owned()));
            }
        };
        let outcome = session.stop(Ended::TimeBox)?;
        Ok((seen, outcome))
    }

    async fn client(&self, seconds: u64) -> Result<Seen, Failure> {
        // Until the service listens, a moment after its start, the first request would be refused.
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", PORT)).await.is_ok() {
                break;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        let words = [self.program.clone(), "demo-load".into(), PORT.to_string(), seconds.to_string()];
        let child = self.client.spawn(&words, Stdio::piped())?;
        let output = child.wait_with_output().await.context("waiting for the demo's client")?;
        if !output.status.success() {
            return Err(anyhow!("the demo's client failed: {}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout).context("reading what the demo's client saw")?)
    }
}
