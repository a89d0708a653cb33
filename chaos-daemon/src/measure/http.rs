//! `http = { url, status, body, within }`: a GET, and whether the answer is as it should be. What is not, is told as it
//! is, whatever the reason: who is refused or waits in vain is hurt, and it is no error of the measurement.

use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use toml::Spanned;

use super::{
    Measured, absent,
    client::{self, shown},
    error::chain,
};
use crate::config::{
    Problem, Section,
    value::{Span, Statuses},
};

/// How an answer should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// What is asked for.
    pub url: Url,
    /// Statuses of which it should have one.
    pub status: Vec<Statuses>,
    /// What should occur in its first mebibyte.
    pub body: Option<String>,
    /// How long it may take, from before the connection to its last byte (or its status, if the body does not matter).
    pub within: Duration,
}

/// Unless the file says otherwise.
pub const WITHIN: Duration = Duration::from_secs(1);

/// Nobody waits for longer, and a stop condition that does is none.
const LONGEST: Duration = Duration::from_secs(10);

/// Reads `within`, or another limit of a single measurement: more than 0 and at most 10 seconds.
pub fn limit(section: &mut Section<'_>, key: &'static str) -> Result<Option<Duration>, Problem> {
    let Some(span) = section.get::<Span>(key)? else { return Ok(None) };
    let limit = span.get_ref().0;
    if limit.is_zero() || limit > LONGEST {
        let message = format!("`{key}` is out of range: {}", span.get_ref());
        return Err(Problem::at(span.span(), message, "out of range")
            .help(format!("a measurement may take more than 0 and at most {}", Span(LONGEST))));
    }
    Ok(Some(limit))
}

impl Http {
    /// Reads the source.
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        let Some(mut table) = section.table("http")? else { return Err(absent(section)) };
        let url = client::url(&table.need::<String>("url", "\"http://127.0.0.1:8080/health\"")?)?;
        let status = table.list::<Statuses>("status")?;
        let body = table.get::<String>("body")?;
        if let Some(empty) = body.as_ref().filter(|body| body.get_ref().is_empty()) {
            return Err(Problem::at(empty.span(), "every body has nothing in it", "asks for nothing")
                .help("write a text that stands in a good answer, or leave `body` out"));
        }
        let within = limit(&mut table, "within")?.unwrap_or(WITHIN);
        table.finish()?;
        let status = status.map_or_else(
            || vec![Statuses::SUCCESS],
            |status| status.into_iter().map(Spanned::into_inner).collect(),
        );
        Ok(Self { url, status, body: body.map(Spanned::into_inner), within })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let status: Vec<String> = self.status.iter().map(ToString::to_string).collect();
        let body = self.body.as_ref().map(|body| format!(" and {body:?}")).unwrap_or_default();
        format!(
            "{} answers with {}{body} within {}",
            shown(&self.url),
            status.join(" or "),
            Span(self.within)
        )
    }

    pub(super) async fn measure(&self, client: &Client) -> Measured {
        let begun = Instant::now();
        let unwell = |what: String| Measured::Unwell(format!("{} {what}", shown(&self.url)));
        match tokio::time::timeout(self.within, self.ask(client)).await {
            // The clock is looked at, too: an answer may have been there in time and we not.
            Ok(Ok(())) if begun.elapsed() <= self.within => Measured::Well,
            Ok(Err(what)) => unwell(what),
            Ok(Ok(())) | Err(_) => unwell(format!("has not answered within {}", Span(self.within))),
        }
    }

    async fn ask(&self, client: &Client) -> Result<(), String> {
        let failed = |error: reqwest::Error| format!("has not answered: {}", chain(&error.without_url()));
        let response = client.get(self.url.clone()).send().await.map_err(failed)?;
        let status = response.status();
        if !self.status.iter().any(|statuses| statuses.contains(status.as_u16())) {
            return Err(format!("has answered with {status}"));
        }
        let Some(wanted) = &self.body else { return Ok(()) };
        let (body, _) = client::body(response).await.map_err(failed)?;
        if String::from_utf8_lossy(&body).contains(wanted.as_str()) {
            return Ok(());
        }
        Err(format!("has answered with {status} and without {wanted:?}"))
    }
}
