//! Which path does what, and the document (`OpenAPI` 3.1) that says so.
//!
//! What must stay true: every route is in that document, and every path of the document is a route.
#![expect(unused_qualifications, reason = "in what utoipa makes of the parameters")]

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use utoipa::{IntoParams, OpenApi};

use super::extract::{Asked, Named};
use crate::{
    config::MAX_BYTES,
    daemon::{Daemon, End, Event, FaultStatus, HaltAnswer, Handed, Peer, Phase, Refusal, Status},
    metrics::TEXT_FORMAT,
};

/// How long a document may take to come in.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer<T> = Result<T, Refusal>;

/// All of them.
pub(super) fn routes(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/experiments", get(list))
        .route("/v1/experiments/{name}", get(status).put(apply))
        .route("/v1/experiments/{name}/halt", post(halt))
        .route("/v1/experiments/{name}/record", get(record))
        .route("/v1/halt", post(halt_all))
        .route("/v1/events", get(events))
        .route("/v1/health", get(health))
        .route("/v1/metrics", get(metrics))
        .route("/v1/openapi.json", get(document))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_this_way)
        .with_state(daemon)
}

/// What the control API takes and answers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "kchaos control API",
        description = "HTTP over the control socket of a kchaos daemon. Only root can open it; there is no other authentication.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(list, status, apply, halt, record, halt_all, events, health, metrics, document),
    components(schemas(Status, FaultStatus, HaltAnswer, Refusal, Error, Event, Phase, End))
)]
struct Document;

/// What stands in the body of every answer that is no success.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "for the document: answers are written by `Refusal`")]
struct Error {
    error: Refusal,
}

/// The document, as JSON.
pub fn openapi() -> String {
    // A document of our own types: it is serialized by the library that made it.
    Document::openapi().to_pretty_json().unwrap_or_default()
}

/// All experiments that the daemon knows.
#[utoipa::path(get, path = "/v1/experiments", responses((status = 200, body = Vec<Status>)))]
async fn list(State(daemon): State<Arc<Daemon>>) -> Json<Vec<Status>> {
    Json(daemon.list().await)
}

/// One experiment, its counts as of now.
#[utoipa::path(
    get,
    path = "/v1/experiments/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = Status), (status = 400, body = Error), (status = 404, body = Error))
)]
async fn status(State(daemon): State<Arc<Daemon>>, Named(name): Named) -> Answer<Json<Status>> {
    daemon.status(&name).await.map(Json).ok_or_else(|| Refusal::unknown(&name))
}

/// Parameters of a hand-over.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ApplyParameters {
    /// What the caller calls this request: the same one again starts nothing.
    request: Option<String>,
}

/// Hands an experiment over: its file, as TOML. Answered when it runs, waits for its time, or has failed.
///
/// A file whose experiment is there already and not over, or a request that was made before, starts nothing (200). The
/// name in the path counts where the file has none, and must be that of the file where it has.
#[utoipa::path(
    put,
    path = "/v1/experiments/{name}",
    params(("name" = String, Path, description = "Its name"), ApplyParameters),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, body = Status, description = "It was there already"),
        (status = 201, body = Status, description = "It was taken"),
        (status = 400, body = Error, description = "The request is wrong"),
        (status = 408, body = Error, description = "The file did not come in time"),
        (status = 409, body = Error, description = "Something else runs: of this name, or on its target"),
        (status = 413, body = Error, description = "The file is too long"),
        (status = 422, body = Error, description = "The file is wrong, or not allowed here; `span` is the place"),
        (status = 503, body = Error, description = "This host cannot do it, or not now")
    )
)]
async fn apply(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
    Named(name): Named,
    Asked(parameters): Asked<ApplyParameters>,
    body: Body,
) -> Answer<(StatusCode, Json<Status>)> {
    let document = text(body).await?;
    match daemon.apply(&peer, Some(&name), &document, parameters.request.as_deref()).await? {
        Handed::New(status) => Ok((StatusCode::CREATED, Json(status))),
        Handed::Known(status) => Ok((StatusCode::OK, Json(status))),
    }
}

/// Switches one experiment off: in the kernel first. One that is over already stays so.
#[utoipa::path(
    post,
    path = "/v1/experiments/{name}/halt",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, body = HaltAnswer), (status = 400, body = Error), (status = 404, body = Error))
)]
async fn halt(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
    Named(name): Named,
) -> Answer<Json<HaltAnswer>> {
    daemon.halt(&peer, Some(&name)).await.map(Json)
}

/// Switches every experiment of this host off: in the kernel first.
#[utoipa::path(post, path = "/v1/halt", responses((status = 200, body = HaltAnswer)))]
async fn halt_all(
    State(daemon): State<Arc<Daemon>>,
    Extension(peer): Extension<Peer>,
) -> Answer<Json<HaltAnswer>> {
    daemon.halt(&peer, None).await.map(Json)
}

/// What the last run of an experiment did: as `kchaos run --output json` writes it.
#[utoipa::path(
    get,
    path = "/v1/experiments/{name}/record",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = serde_json::Value),
        (status = 400, body = Error),
        (status = 404, body = Error),
        (status = 409, body = Error, description = "It is not over, or never ran")
    )
)]
async fn record(State(daemon): State<Arc<Daemon>>, Named(name): Named) -> Answer<Response> {
    daemon.record(&name).map(|done| Json(&*done).into_response())
}

/// Parameters of the stream of events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventParameters {
    /// Only those after this number.
    #[serde(default)]
    after: u64,
    /// Whether to wait for more.
    #[serde(default)]
    follow: bool,
}

/// What happened, one JSON object per line; the last 1,000 are kept.
#[utoipa::path(
    get,
    path = "/v1/events",
    params(EventParameters),
    responses(
        (status = 200, body = Event, content_type = "application/x-ndjson"),
        (status = 400, body = Error),
        (status = 429, body = Error, description = "As many follow as may")
    )
)]
async fn events(
    State(daemon): State<Arc<Daemon>>,
    Asked(EventParameters { after, follow }): Asked<EventParameters>,
) -> Answer<Response> {
    let place = if follow {
        let none = || {
            Refusal::too_many("as many clients follow the events as may at a time")
                .help("ask for them without `follow`")
        };
        Some(daemon.events.place().ok_or_else(none)?)
    } else {
        None
    };
    let (kept, next) = daemon.events.after(after);
    let kept: String = kept.iter().map(|event| line(event)).collect();
    let next = place.map(|place| (next, place));
    let stream = stream::unfold((Some(kept), next), |(kept, next)| async {
        if let Some(text) = kept {
            return Some((Ok::<_, Infallible>(Bytes::from(text)), (None, next)));
        }
        let (mut next, place) = next?;
        let text = following(&mut next).await?;
        Some((Ok(Bytes::from(text)), (None, Some((next, place)))))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

/// The next event as a line; one who was too slow for some sees the gap in the numbers.
async fn following(next: &mut Receiver<Arc<Event>>) -> Option<String> {
    loop {
        match next.recv().await {
            Ok(event) => return Some(line(&event)),
            Err(RecvError::Lagged(missed)) => tracing::debug!("a follower missed {missed} events"),
            Err(RecvError::Closed) => return None,
        }
    }
}

fn line(event: &Event) -> String {
    serde_json::to_string(event).map(|text| text + "\n").unwrap_or_default()
}

/// Whether the daemon answers.
#[utoipa::path(get, path = "/v1/health", responses((status = 200, body = String)))]
async fn health() -> &'static str {
    "ok\n"
}

/// What Prometheus reads, also where nothing listens on the network.
#[utoipa::path(get, path = "/v1/metrics", responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(daemon): State<Arc<Daemon>>) -> Response {
    ([TEXT_FORMAT], daemon.scrape().await).into_response()
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, body = serde_json::Value)))]
async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], openapi()).into_response()
}

async fn nothing_here() -> Refusal {
    let refusal =
        Refusal::bad("there is nothing at this path").help("GET /v1/openapi.json says what there is");
    Refusal { status: StatusCode::NOT_FOUND.as_u16(), ..refusal }
}

async fn not_this_way() -> Refusal {
    let refusal =
        Refusal::bad("this path is not asked this way").help("GET /v1/openapi.json says what there is");
    Refusal { status: StatusCode::METHOD_NOT_ALLOWED.as_u16(), ..refusal }
}

/// A file, as long as files may be, and in time.
async fn text(body: Body) -> Answer<String> {
    let read = tokio::time::timeout(PATIENCE, to_bytes(body, MAX_BYTES));
    let read = read.await.map_err(|_| Refusal::too_slow(format!("the file took more than {PATIENCE:?}")))?;
    let bytes = read.map_err(|_| Refusal::too_large("the file is longer than 1 MiB, or was cut off"))?;
    String::from_utf8(bytes.into()).map_err(|_| Refusal::bad("the file is not a text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The source of the routes is read: a router does not tell what it knows.
    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let source = include_str!("routes.rs");
        let mut routes: Vec<&str> = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix(".route(\"")?.split('"').next())
            .collect();
        let document = Document::openapi();
        let mut paths: Vec<&str> = document.paths.paths.keys().map(String::as_str).collect();
        routes.sort_unstable();
        paths.sort_unstable();
        assert_eq!(routes, paths);
    }
}
