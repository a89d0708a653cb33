//! Annotations of Grafana: made when the faults go on, given an end when they are off, so that a dashboard shades the time
//! between.
//!
//! See "Annotations HTTP API" in Grafana's documentation: `POST /api/annotations` answers with an id, and `PATCH
//! /api/annotations/ID` changes what it is given. Times are milliseconds since 1970.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{AnnotateError, Mark, receiver::Receiver, spec::GrafanaSpec};
use crate::measure::MeasureError;

/// The tag of all annotations that are ours.
const TAG: &str = "kchaos";

const JSON: &str = "application/json";

pub struct Grafana {
    receiver: Receiver,
    dashboard: Option<String>,
    /// The annotation that was made.
    made: Option<u64>,
}

/// As it goes out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Annotation<'a> {
    #[serde(rename = "dashboardUID", skip_serializing_if = "Option::is_none")]
    dashboard: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_end: Option<u64>,
    text: String,
    tags: Vec<&'a str>,
}

/// As it is answered.
#[derive(Deserialize)]
struct Made {
    id: u64,
}

impl Grafana {
    pub fn new(spec: &GrafanaSpec) -> Result<Self, AnnotateError> {
        Ok(Self { receiver: Receiver::new(&spec.receiver)?, dashboard: spec.dashboard.clone(), made: None })
    }

    /// Marks the beginning.
    pub async fn began(&mut self, mark: &Mark) -> Result<(), MeasureError> {
        let annotation = self.annotation(mark, Some(mark.millis()), None);
        self.made = Some(self.make(&annotation).await?);
        Ok(())
    }

    /// Gives it an end. If there is no beginning, both are made now.
    pub async fn ended(&mut self, began: &Mark, mark: &Mark) -> Result<(), MeasureError> {
        let Some(id) = self.made else {
            let whole = self.annotation(mark, Some(began.millis()), Some(mark.millis()));
            return self.make(&whole).await.map(drop);
        };
        let annotation = Annotation { dashboard: None, ..self.annotation(mark, None, Some(mark.millis())) };
        let path = ["api", "annotations", &id.to_string()];
        self.receiver.send(Method::PATCH, &path, JSON, body(&annotation)?).await.map(drop)
    }

    async fn make(&self, annotation: &Annotation<'_>) -> Result<u64, MeasureError> {
        let answer =
            self.receiver.send(Method::POST, &["api", "annotations"], JSON, body(annotation)?).await?;
        let Made { id } = serde_json::from_slice(&answer)
            .map_err(|error| MeasureError::Failed(format!("its answer is not that of a Grafana: {error}")))?;
        Ok(id)
    }

    fn annotation<'a>(&'a self, mark: &'a Mark, time: Option<u64>, time_end: Option<u64>) -> Annotation<'a> {
        let verdict = mark.end.as_ref().and_then(|end| end.verdict);
        let ours = [TAG, &mark.experiment].into_iter().chain(verdict);
        let mut tags: Vec<&str> = Vec::new();
        for tag in ours.chain(mark.faults.iter().chain(&mark.tags).map(String::as_str)) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let hypothesis = mark.hypothesis.as_ref().map(|text| format!("\nHypothesis: {text}"));
        let text = format!("{}{}", mark.text, hypothesis.unwrap_or_default());
        Annotation { dashboard: self.dashboard.as_deref(), time, time_end, text: escaped(&text), tags }
    }
}

fn body(annotation: &Annotation<'_>) -> Result<Vec<u8>, MeasureError> {
    serde_json::to_vec(annotation).map_err(|error| MeasureError::Failed(error.to_string()))
}

/// Dashboards show the text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
