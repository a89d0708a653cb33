//! `[annotate]`: who is told of an experiment. In its own file, or for all of a host in the daemon's settings.

use std::path::PathBuf;

use reqwest::Url;
use toml::Spanned;

use crate::{
    config::{Problem, Section},
    measure,
};

/// `[annotate]`, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotateSpec {
    /// A Grafana, through its HTTP API.
    pub grafana: Option<GrafanaSpec>,
    /// A collector of OpenTelemetry, through OTLP over HTTP.
    pub opentelemetry: Option<ReceiverSpec>,
}

/// A Grafana.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrafanaSpec {
    /// Where it is, and what lets us in.
    pub receiver: ReceiverSpec,
    /// The UID of the dashboard that is marked; without one all are that show annotations with the tag `kchaos`.
    pub dashboard: Option<String>,
}

/// Somebody who is told by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverSpec {
    /// What all of its paths begin with.
    pub url: Url,
    /// Holds the token that goes into `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
}

const HELP: &str = "add grafana = { url = \"http://grafana:3000\", token_file = \"/etc/kchaos/grafana-token\" }, or \
                    opentelemetry = { url = \"http://127.0.0.1:4318\" }";

impl AnnotateSpec {
    /// Reads the table, if it is there.
    pub fn read(file: &mut Section<'_>) -> Result<Option<Self>, Problem> {
        let Some(mut table) = file.table("annotate")? else { return Ok(None) };
        let grafana = table.table("grafana")?.map(grafana).transpose()?;
        let opentelemetry = table.table("opentelemetry")?.map(collector).transpose()?;
        let span = table.span();
        table.finish()?;
        if grafana.is_none() && opentelemetry.is_none() {
            return Err(Problem::at(span, "[annotate] tells nobody", "nobody is named").help(HELP));
        }
        Ok(Some(Self { grafana, opentelemetry }))
    }
}

fn grafana(mut table: Section<'_>) -> Result<GrafanaSpec, Problem> {
    let receiver = receiver(&mut table)?;
    let dashboard = table.get::<String>("dashboard")?;
    if let Some(bad) = dashboard.as_ref().filter(|uid| !is_uid(uid.get_ref())) {
        let message = format!("\"{}\" is not the UID of a dashboard", bad.get_ref());
        return Err(Problem::at(bad.span(), message, "not a UID").help(
            "it stands in the dashboard's address, behind /d/: letters, digits, '-' and '_', at most 40",
        ));
    }
    table.finish()?;
    Ok(GrafanaSpec { receiver, dashboard: dashboard.map(Spanned::into_inner) })
}

fn is_uid(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn collector(mut table: Section<'_>) -> Result<ReceiverSpec, Problem> {
    let receiver = receiver(&mut table)?;
    table.finish()?;
    Ok(receiver)
}

fn receiver(table: &mut Section<'_>) -> Result<ReceiverSpec, Problem> {
    let text = table.need::<String>("url", "\"http://127.0.0.1:3000\"")?;
    let url = measure::url(&text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Problem::at(
            text.span(),
            "paths are added to this URL, and it has an end already",
            "has an end",
        )
        .help("leave out what begins with ? or #"));
    }
    if url.password().is_some() {
        return Err(Problem::at(
            text.span(),
            "this URL has a password, and files are kept in records",
            "a secret",
        )
        .help("write a token into a file that only root can read, and name it: token_file = \"/etc/...\""));
    }
    let token_file = table.get::<PathBuf>("token_file")?;
    if let Some(bad) = token_file.as_ref().filter(|path| !path.get_ref().is_absolute()) {
        return Err(Problem::at(bad.span(), "`token_file` is no absolute path", "relative to what?")
            .help("write it from the root: token_file = \"/etc/kchaos/token\""));
    }
    Ok(ReceiverSpec { url, token_file: token_file.map(Spanned::into_inner) })
}
