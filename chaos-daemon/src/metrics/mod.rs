//! Counters for Prometheus: read from the kernel on every scrape, never kept on the side, so that what is shown equals
//! what the kernel counted to the unit.

use std::{future::Future, net::SocketAddr};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use chaos_common::counters::{Counters, Skip};
use metrics::{Label, counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::net::TcpListener;

use crate::{
    bpf::BpfError,
    engine::Session,
    guard::stop::Standing,
    serve::{Places, not_taken, talk},
};

/// How many clients are served at a time: anybody on the host may ask.
const CLIENTS: usize = 16;

/// The `Content-Type` of the text format.
pub const TEXT_FORMAT: (&str, &str) = ("content-type", "text/plain; version=0.0.4; charset=utf-8");

/// What one scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Name of the experiment.
    pub experiment: String,
    /// How much of the time box is left, in seconds.
    pub seconds_left: f64,
    /// Name, kind and counts of each fault.
    pub faults: Vec<(String, &'static str, Counters)>,
    /// How each stop condition stands.
    pub stops: Vec<Standing>,
}

impl Snapshot {
    /// As of now.
    pub fn of(session: &Session, stops: Vec<Standing>) -> Result<Self, BpfError> {
        let faults = session.experiment.faults.iter().zip(session.counters()?);
        Ok(Self {
            experiment: session.experiment.name.clone(),
            seconds_left: session.left().as_secs_f64(),
            faults: faults
                .map(|(fault, counters)| (fault.name.clone(), fault.fault.kind(), counters))
                .collect(),
            stops,
        })
    }
}

/// Renders snapshots in the text format.
pub struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Default for Exporter {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        with_local_recorder(&recorder, || {
            describe_counter!("kchaos_matched_total", "Packets or calls that a fault matched.");
            describe_counter!("kchaos_injected_total", "Packets or calls that a fault hit.");
            describe_counter!(
                "kchaos_skipped_total",
                "Packets or calls that a fault matched and did not hit."
            );
            describe_counter!(
                "kchaos_unattributed_total",
                "Packets that fitted a fault and nobody can say whose they are; never hit."
            );
            describe_gauge!("kchaos_time_left_seconds", "What is left of the experiment's time box.");
            describe_gauge!(
                "kchaos_stop_condition_holds",
                "Whether a stop condition held when it was last looked at."
            );
            describe_gauge!(
                "kchaos_stop_condition_value",
                "The number that a stop condition was last decided by."
            );
            describe_counter!(
                "kchaos_stop_condition_errors_total",
                "Looks at a stop condition that could not tell."
            );
        });
        Self { recorder, handle }
    }
}

impl Exporter {
    /// The text of one scrape that shows one experiment.
    pub fn render(&self, snapshot: &Snapshot) -> String {
        self.note(snapshot);
        self.text()
    }

    /// Whatever metrics are set by `work` are shown here.
    pub fn with(&self, work: impl FnOnce()) {
        with_local_recorder(&self.recorder, work);
    }

    /// Everything noted so far.
    pub fn text(&self) -> String {
        self.handle.render()
    }

    /// Notes the counts of one experiment.
    pub fn note(&self, snapshot: &Snapshot) {
        let Snapshot { experiment, seconds_left, faults, stops } = snapshot;
        self.with(|| {
            gauge!("kchaos_time_left_seconds", "experiment" => experiment.clone()).set(*seconds_left);
            for (fault, kind, counters) in faults {
                let labels = || {
                    vec![
                        Label::new("experiment", experiment.clone()),
                        Label::new("fault", fault.clone()),
                        Label::new("kind", *kind),
                    ]
                };
                counter!("kchaos_matched_total", labels()).absolute(counters.matched);
                counter!("kchaos_injected_total", labels()).absolute(counters.injected);
                counter!("kchaos_unattributed_total", labels()).absolute(counters.unattributed);
                for reason in Skip::ALL {
                    let mut labels = labels();
                    labels.push(Label::new("reason", reason.name()));
                    counter!("kchaos_skipped_total", labels).absolute(counters.skipped[reason as usize]);
                }
            }
            for standing in stops {
                show(experiment, standing);
            }
        });
    }
}

/// A condition that has not shown a number has no value.
fn show(experiment: &str, standing: &Standing) {
    let Standing { name, value, holds, errors } = standing;
    let labels =
        || vec![Label::new("experiment", experiment.to_owned()), Label::new("condition", name.clone())];
    gauge!("kchaos_stop_condition_holds", labels()).set(f64::from(u8::from(*holds)));
    counter!("kchaos_stop_condition_errors_total", labels()).absolute(*errors);
    if let Some(value) = value {
        gauge!("kchaos_stop_condition_value", labels()).set(*value);
    }
}

/// Opens the address that metrics are served on.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves `/metrics` until dropped. `scrape` renders one answer.
pub async fn serve<F, R>(listener: TcpListener, scrape: F)
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<String, String>> + Send + 'static,
{
    let (app, places) =
        (Router::new().route("/metrics", get(answer::<F, R>)).with_state(scrape), Places::new(CLIENTS));
    loop {
        let place = places.take().await;
        match listener.accept().await {
            Ok((stream, _)) => talk(stream, app.clone(), place),
            Err(error) => not_taken("the metrics", &error).await,
        }
    }
}

async fn answer<F, R>(State(scrape): State<F>) -> impl IntoResponse
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<String, String>> + Send + 'static,
{
    match scrape().await {
        Ok(text) => (StatusCode::OK, [TEXT_FORMAT], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [TEXT_FORMAT], error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_exactly_what_was_counted_and_zeros_too() {
        let mut counters = Counters { matched: 7, injected: 3, unattributed: 2, ..Counters::default() };
        counters.skipped[Skip::Probability as usize] = 4;
        let snapshot = Snapshot {
            experiment: "x".into(),
            seconds_left: 1.5,
            faults: vec![("drop-1".into(), "drop", counters)],
            stops: vec![Standing {
                name: "users are \"hurt\"".into(),
                value: Some(0.5),
                holds: true,
                errors: 3,
            }],
        };
        let exporter = Exporter::default();
        let _first = exporter.render(&snapshot);
        let text = exporter.render(&snapshot);
        let labels = "experiment=\"x\",fault=\"drop-1\",kind=\"drop\"";
        let stop = r#"experiment="x",condition="users are \"hurt\"""#;
        for line in [
            format!("kchaos_matched_total{{{labels}}} 7"),
            format!("kchaos_injected_total{{{labels}}} 3"),
            format!("kchaos_unattributed_total{{{labels}}} 2"),
            format!("kchaos_skipped_total{{{labels},reason=\"probability\"}} 4"),
            format!("kchaos_skipped_total{{{labels},reason=\"deadline\"}} 0"),
            "kchaos_time_left_seconds{experiment=\"x\"} 1.5".to_owned(),
            format!("kchaos_stop_condition_holds{{{stop}}} 1"),
            format!("kchaos_stop_condition_value{{{stop}}} 0.5"),
            format!("kchaos_stop_condition_errors_total{{{stop}}} 3"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
