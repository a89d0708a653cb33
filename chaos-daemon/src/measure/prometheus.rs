//! `prometheus = { url, query }`: an instant query. Its answer is a list of numbers, each with its labels.
//!
//! What must stay true: a list without numbers is told from one with, as for one question it means that all is well
//! ("which of them is too slow?") and for another that nobody knows ("what is the rate?"). NaN is no number: 0 errors of
//! 0 requests say nothing.

use std::{collections::BTreeMap, fmt::Write};

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::{
    MeasureError, Measured, Sample, absent,
    client::{self, LONGEST_BODY, shown},
    error::chain,
};
use crate::config::{Problem, Section};

/// A query, and whom to ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Prometheus {
    /// The server, with the path below which its API is.
    pub url: Url,
    /// What it is asked, in its own language.
    pub query: String,
}

/// The answer of the API, good or bad.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success {
        data: Data,
    },
    Error {
        #[serde(rename = "errorType")]
        kind: String,
        error: String,
    },
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    /// What it is depends on the kind.
    result: Value,
}

#[derive(Debug, Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// Missing for native histograms, which are no numbers.
    value: Option<(Value, String)>,
}

impl Prometheus {
    /// Reads the source.
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        let Some(mut table) = section.table("prometheus")? else { return Err(absent(section)) };
        let url = client::url(&table.need::<String>("url", "\"http://127.0.0.1:9090\"")?)?;
        let query = table.need::<String>("query", "\"up == 0\"")?;
        if query.get_ref().trim().is_empty() {
            return Err(Problem::at(query.span(), "the query is empty", "asks for nothing")
                .help("write it in PromQL: query = \"up == 0\""));
        }
        table.finish()?;
        Ok(Self { url, query: query.into_inner() })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        format!("{} at {}", self.query, shown(&self.url))
    }

    fn request(&self) -> Url {
        let mut url = self.url.clone();
        let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut().append_pair("query", &self.query);
        url
    }

    pub(super) async fn measure(&self, client: &Client) -> Result<Measured, MeasureError> {
        let failed = |what: String| MeasureError::Failed(format!("{}: {what}", shown(&self.url)));
        let http = |error: reqwest::Error| failed(chain(&error.without_url()));
        let response = client.get(self.request()).send().await.map_err(http)?;
        let status = response.status();
        let (body, whole) = client::body(response).await.map_err(http)?;
        if !whole {
            return Err(failed(format!("the answer is longer than {} KiB", LONGEST_BODY >> 10)));
        }
        match serde_json::from_slice(&body) {
            Ok(Answer::Success { data }) if status.is_success() => numbers(data),
            // Whatever else may go wrong, a query that cannot be read today cannot be read tomorrow.
            Ok(Answer::Error { kind, error }) if kind == "bad_data" => {
                Err(MeasureError::Mistake(format!("Prometheus cannot read the query: {error}")))
            }
            Ok(Answer::Error { kind, error }) => Err(failed(format!("{kind}: {error}"))),
            Ok(Answer::Success { .. }) | Err(_) => Err(failed(nonsense(status))),
        }
    }
}

fn nonsense(status: StatusCode) -> String {
    format!("its answer ({status}) is not that of a Prometheus")
}

fn numbers(data: Data) -> Result<Measured, MeasureError> {
    let odd = |error| MeasureError::Failed(format!("the answer cannot be read: {error}"));
    let samples = match data.kind.as_str() {
        "scalar" => {
            let (_, value): (Value, String) = serde_json::from_value(data.result).map_err(odd)?;
            vec![("the query".to_owned(), value)]
        }
        "vector" => {
            let series: Vec<Series> = serde_json::from_value(data.result).map_err(odd)?;
            let values = series.into_iter().filter_map(|series| Some((series.value?.1, series.metric)));
            values.map(|(value, metric)| (labels(&metric), value)).collect()
        }
        _ => {
            return Err(MeasureError::Mistake(
                "the query answers with a range or a text, and not with numbers of this moment".to_owned(),
            ));
        }
    };
    let mut numbers = Vec::new();
    for (of, value) in samples {
        let value: f64 =
            value.parse().map_err(|_| MeasureError::Failed(format!("{value:?} is not a number")))?;
        if !value.is_nan() {
            numbers.push(Sample { of, value });
        }
    }
    Ok(Measured::Numbers(numbers))
}

/// `up{job="x"}`, as Prometheus writes it.
fn labels(metric: &BTreeMap<String, String>) -> String {
    const NAME: &str = "__name__";
    let mut text = metric.get(NAME).cloned().unwrap_or_default();
    let labels: Vec<String> = metric
        .iter()
        .filter(|(name, _)| *name != NAME)
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    if !labels.is_empty() || text.is_empty() {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{{{}}}", labels.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Measured, MeasureError> {
        match serde_json::from_str(json).unwrap() {
            Answer::Success { data } => numbers(data),
            Answer::Error { kind, error } => panic!("{kind}: {error}"),
        }
    }

    fn sample(of: &str, value: f64) -> Sample {
        Sample { of: of.to_owned(), value }
    }

    #[test]
    fn reads_vectors_and_scalars() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"a"},"value":[1700000000.1,"1"]},
            {"metric":{"job":"b"},"value":[1700000000,"NaN"]},
            {"metric":{"job":"h"},"histogram":[1700000000,{"count":"1"}]},
            {"metric":{},"value":[1700000000,"+Inf"]}]}}"#;
        let expected = vec![sample("up{job=\"a\"}", 1.0), sample("{}", f64::INFINITY)];
        assert_eq!(Ok(Measured::Numbers(expected)), read(vector));
        let scalar =
            r#"{"status":"success","warnings":["x"],"data":{"resultType":"scalar","result":[1,"-2.5e-3"]}}"#;
        assert_eq!(Ok(Measured::Numbers(vec![sample("the query", -0.0025)])), read(scalar));
        let empty = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(Ok(Measured::Numbers(vec![])), read(empty));
    }

    #[test]
    fn refuses_what_is_no_number_of_now() {
        for kind in ["matrix", "string"] {
            let json = format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":[]}}}}"#);
            assert!(matches!(read(&json), Err(MeasureError::Mistake(_))), "{kind}");
        }
        let odd = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"many"]}}"#;
        assert!(matches!(read(odd), Err(MeasureError::Failed(_))));
        for broken in ["", "{}", "[]", r#"{"status":"success"}"#, r#"{"status":"ok","data":{}}"#] {
            assert!(serde_json::from_str::<Answer>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn asks_below_the_path_of_the_server() {
        let of = |url: &str| {
            let source = Prometheus { url: url.parse().unwrap(), query: "a{b=\"c d\"} > 1&x".to_owned() };
            source.request().to_string()
        };
        let query = "query=a%7Bb%3D%22c+d%22%7D+%3E+1%26x";
        assert_eq!(format!("http://h:9090/api/v1/query?{query}"), of("http://h:9090"));
        assert_eq!(format!("http://h/p/api/v1/query?{query}"), of("http://h/p/"));
    }
}
