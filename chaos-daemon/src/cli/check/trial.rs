//! Tries a feature out by using it: a real experiment on a process of our own, which must see the fault, while the
//! kernel must have counted it. A program that loads and attaches may still never fire.

use std::process::Stdio;

use anyhow::{Context, anyhow};
use chaos_common::uses::Uses;
use thiserror::Error;

use super::try_out::{Fate, What};
use crate::{
    bpf::{
        BpfError, Feature, Level, Need, Object,
        call::{Call, Way},
    },
    config,
    engine::{Ended, LEASE_TICK, Life, Options, Session, Size, StartError},
    target::{Hierarchy, OwnCgroup},
};

/// An experiment on a feature, and what its target must see.
struct Trial {
    target: Where,
    fault: &'static str,
    what: What,
    expected: Fate,
    level: Level,
}

const PACKET: Trial =
    Trial { target: Where::Cgroup, fault: "", what: What::Packet, expected: Fate::Lost, level: Level::Full };

/// How the target is named.
#[derive(Clone, Copy)]
enum Where {
    Cgroup,
    /// The network namespace that we are in.
    NetNs,
}

/// The best way first.
const fn trials(feature: Feature) -> &'static [Trial] {
    match feature {
        Feature::TcEgress => {
            const { &[Trial { fault: "kind = \"drop\"\nprotocol = \"udp\"\ndirection = \"egress\"", ..PACKET }] }
        }
        Feature::TcIngress => {
            const {
                &[Trial {
                    fault: "kind = \"drop\"\nprotocol = \"udp\"\ndirection = \"ingress\"",
                    target: Where::NetNs,
                    ..PACKET
                }]
            }
        }
        Feature::CgroupIngress => {
            const { &[Trial { fault: "kind = \"drop\"\nprotocol = \"udp\"\ndirection = \"ingress\"", ..PACKET }] }
        }
        Feature::DelayLine => {
            const {
                &[Trial {
                    fault: "kind = \"delay\"\nprotocol = \"udp\"\ndelay = \"50ms\"",
                    expected: Fate::Late,
                    ..PACKET
                }]
            }
        }
        // Each is tried where it is caught.
        Feature::Call(_) => &[],
        Feature::CgroupConnect => {
            const {
                &[
                    Trial {
                        target: Where::Cgroup,
                        fault: "kind = \"connect\"\nerrno = \"EIO\"",
                        what: What::Call,
                        expected: Fate::Failed(libc::EIO),
                        level: Level::Full,
                    },
                    Trial {
                        target: Where::Cgroup,
                        fault: "kind = \"connect\"\nerrno = \"EPERM\"",
                        what: What::Call,
                        expected: Fate::Failed(libc::EPERM),
                        level: Level::Reduced,
                    },
                ]
            }
        }
    }
}

/// Why a feature does not work.
#[derive(Debug, Error)]
pub enum TrialError {
    /// The experiment did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It ran, and its target saw or the kernel counted something else than it should.
    #[error("the programs were attached, and the fault did not come: {0}")]
    NoEffect(String),
    /// The trial itself went wrong.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

/// How well the feature works here. Must be called in a network namespace of our own.
pub async fn of(feature: Feature, hierarchy: &Hierarchy) -> Result<Level, TrialError> {
    let mut refused = None;
    for trial in trials(feature) {
        match Box::pin(run(feature, trial, hierarchy)).await {
            Ok(level) => return Ok(level.min(trial.level)),
            // The next way may do; if none does, the reason against the best one counts.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| TrialError::Failed(anyhow!("there is no trial"))))
}

/// By which way each call can be made to fail. Their programs are tried where they are caught, by calls of our own.
pub fn of_calls() -> Vec<(Call, Result<Way, TrialError>)> {
    let one = |call: Call, object: &mut Object| {
        object.catch(call)?;
        let hooked = object.attached().calls;
        let way = hooked.iter().find(|hooked| hooked.call == call).map(|hooked| hooked.way);
        way.ok_or(BpfError::Call { call, why: "it was not caught".to_owned() })
    };
    let mut object = None;
    Call::ALL
        .iter()
        .map(|call| {
            let caught = if let Some(object) = &mut object {
                one(*call, object)
            } else {
                let needs: Vec<Need> = Call::ALL.iter().map(|c| Feature::Call(*c).in_full()).collect();
                Object::load(&needs, Size::LEAST, Uses::ALL)
                    .and_then(|loaded| one(*call, object.insert(loaded)))
            };
            (*call, caught.map_err(|error| TrialError::Start(error.into())))
        })
        .collect()
}

/// The level is that of the feature: what else the trial takes is tried on its own.
async fn run(feature: Feature, trial: &Trial, hierarchy: &Hierarchy) -> Result<Level, TrialError> {
    let own = OwnCgroup::create_for(hierarchy, "check").map_err(StartError::from)?;
    let cgroup = own.cgroup().map_err(StartError::from)?.name;
    let target = match trial.target {
        Where::Cgroup => format!("cgroup = \"{cgroup}\""),
        Where::NetNs => "netns = \"/proc/self/ns/net\"".to_owned(),
    };
    let text = format!("duration = \"10s\"\n[target]\n{target}\n[[fault]]\n{}\n", trial.fault);
    let experiment = config::parse("the trial's own file", &text, "check").map_err(StartError::from)?;
    let mut session = Session::start(experiment, &Options::default()).await?;
    let reduced = session.attached().reduced.contains(&feature);
    let level = if reduced { Level::Reduced } else { Level::Full };
    let seen = tokio::select! {
        seen = see(&own, trial.what) => seen?,
        // On a slow machine it takes longer than a lease.
        error = keep_alive(&mut session) => return Err(error),
    };
    let outcome = session.stop(Ended::TimeBox).map_err(StartError::from)?;

    let tried: Vec<Fate> = seen.into_iter().filter(|fate| *fate != Fate::Absent).collect();
    let injected = outcome.faults.iter().map(|f| f.injected).sum::<u64>();
    if tried.is_empty() || tried.iter().any(|fate| *fate != trial.expected) || injected != tried.len() as u64
    {
        return Err(TrialError::NoEffect(format!(
            "expected {:?} over IPv4 and IPv6, got {seen:?}, and the kernel counted {injected}",
            trial.expected
        )));
    }
    Ok(level)
}

/// Ends only when the experiment does.
async fn keep_alive(session: &mut Session) -> TrialError {
    let mut ticks = tokio::time::interval(LEASE_TICK);
    loop {
        ticks.tick().await;
        match session.keep_alive() {
            Ok(Life::GoesOn) => {}
            Ok(life) => return TrialError::NoEffect(format!("the experiment ended early: {life:?}")),
            Err(error) => return StartError::from(error).into(),
        }
    }
}

/// What the target sees.
async fn see(cgroup: &OwnCgroup, what: What) -> Result<[Fate; 2], TrialError> {
    let what = match what {
        What::Packet => "packet",
        What::Call => "call",
    };
    // Not by its name: the file may be replaced while it runs.
    let words = ["/proc/self/exe".to_owned(), "try-out".to_owned(), what.to_owned()];
    let child = cgroup.spawn(&words, Stdio::piped()).map_err(StartError::from)?;
    let output = child.wait_with_output().await.context("waiting for the trial's process")?;
    if !output.status.success() {
        return Err(anyhow!("the trial's process ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout).context("reading what the trial's process saw")?)
}
