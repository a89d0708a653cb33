//! Events of OpenTelemetry: log records with a name, one when the faults go on and one when they are off.
//!
//! They go out by OTLP over HTTP (`POST /v1/logs`, protobuf), which every collector takes at port 4318. See
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp> and <https://opentelemetry.io/docs/specs/semconv/general/events/>.

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};
use prost::Message as _;
use reqwest::Method;

use super::{AnnotateError, Mark, receiver::Receiver, spec::ReceiverSpec};
use crate::measure::MeasureError;

/// The name of the event of a beginning.
pub const STARTED: &str = "kchaos.experiment.started";
/// That of an end.
pub const ENDED: &str = "kchaos.experiment.ended";

pub struct OpenTelemetry(Receiver);

impl OpenTelemetry {
    pub fn new(spec: &ReceiverSpec) -> Result<Self, AnnotateError> {
        Receiver::new(spec).map(Self)
    }

    /// Sends the event.
    pub async fn tell(&self, mark: &Mark) -> Result<(), MeasureError> {
        let body = request(mark).encode_to_vec();
        self.0.send(Method::POST, &["v1", "logs"], "application/x-protobuf", body).await.map(drop)
    }
}

/// The event as it goes out.
pub fn request(mark: &Mark) -> ExportLogsServiceRequest {
    let resource = [
        ("service.name", text("kchaos")),
        ("service.version", text(env!("CARGO_PKG_VERSION"))),
        ("host.name", text(&mark.host)),
    ];
    let record = LogRecord {
        time_unix_nano: mark.nanos(),
        observed_time_unix_nano: mark.nanos(),
        severity_number: SeverityNumber::Info.into(),
        severity_text: "INFO".to_owned(),
        body: Some(text(&mark.text)),
        attributes: attributes(mark),
        event_name: if mark.end.is_some() { ENDED } else { STARTED }.to_owned(),
        ..LogRecord::default()
    };
    let scope = InstrumentationScope {
        name: "kchaos".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let logs = ScopeLogs { scope: Some(scope), log_records: vec![record], ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: pairs(resource), ..Resource::default() }),
            scope_logs: vec![logs],
            ..ResourceLogs::default()
        }],
    }
}

fn attributes(mark: &Mark) -> Vec<KeyValue> {
    let mut all = vec![
        ("kchaos.experiment", text(&mark.experiment)),
        ("kchaos.target", text(&mark.target)),
        ("kchaos.faults", list(&mark.faults)),
        ("kchaos.tags", list(&mark.tags)),
    ];
    all.extend(mark.hypothesis.as_deref().map(|hypothesis| ("kchaos.hypothesis", text(hypothesis))));
    if let Some(end) = &mark.end {
        all.extend(end.verdict.map(|verdict| ("kchaos.verdict", text(verdict))));
        all.push(("kchaos.reason", text(&end.reason)));
        all.push(("kchaos.ran_seconds", any(Value::DoubleValue(end.ran_seconds))));
        let injected = i64::try_from(end.injected).unwrap_or(i64::MAX);
        all.push(("kchaos.injected", any(Value::IntValue(injected))));
    }
    pairs(all)
}

fn pairs(pairs: impl IntoIterator<Item = (&'static str, AnyValue)>) -> Vec<KeyValue> {
    let pair = |(key, value): (&str, AnyValue)| KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    };
    pairs.into_iter().map(pair).collect()
}

fn text(text: &str) -> AnyValue {
    any(Value::StringValue(text.to_owned()))
}

fn list(texts: &[String]) -> AnyValue {
    any(Value::ArrayValue(ArrayValue { values: texts.iter().map(|one| text(one)).collect() }))
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}
