//! Who is told what, by real servers: one that keeps the requests that a Grafana would get, and a collector of OpenTelemetry
//! made for tests.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use mock_collector::{MockServer, Protocol};
use serde_json::{Value, json};

use super::{AnnotateError, AnnotateSpec, Annotations, Mark, mark::End};
use crate::config::Section;

fn read(text: &str) -> Result<Option<AnnotateSpec>, crate::config::Problem> {
    let mut file = Section::titled(text, "a test")?;
    let spec = AnnotateSpec::read(&mut file)?;
    file.finish()?;
    Ok(spec)
}

fn began() -> Mark {
    Mark {
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        experiment: "slow-database".into(),
        hypothesis: Some("p99 < 300ms".into()),
        target: "/system.slice/checkout".into(),
        faults: vec!["delay".into(), "drop".into()],
        tags: vec!["postgres".into(), "delay".into()],
        host: "node-7".into(),
        text: "slow-database: delay, drop on /system.slice/checkout for at most 30s".into(),
        end: None,
    }
}

fn ended() -> Mark {
    let end =
        End { verdict: Some("falsified"), reason: "p99 was 5 s".into(), ran_seconds: 30.0, injected: 4711 };
    Mark {
        at: began().at + Duration::from_secs(30),
        text: "slow-database: ended; falsified: p99 was 5 s".into(),
        end: Some(end),
        ..began()
    }
}

/// What one request was: method, path, the token, the body.
type Asked = (String, String, String, Value);

/// A server that keeps what it is asked, and answers as a Grafana does after so many that it refuses.
async fn receiver(refuses: usize) -> (String, Arc<Mutex<Vec<Asked>>>) {
    let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
    let keep = move |State(asked): State<Arc<Mutex<Vec<Asked>>>>,
                     method: Method,
                     uri: Uri,
                     headers: HeaderMap,
                     body: String| async move {
        let token = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
        let mut asked = asked.lock().unwrap();
        let body = serde_json::from_str(&body).unwrap();
        asked.push((method.to_string(), uri.path().to_owned(), token.to_owned(), body));
        if asked.len() <= refuses {
            (StatusCode::SERVICE_UNAVAILABLE, "not now".to_owned())
        } else {
            (StatusCode::OK, json!({ "message": "Annotation added", "id": 42 }).to_string())
        }
    };
    let router = Router::new().fallback(keep).with_state(Arc::clone(&asked));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    (url, asked)
}

async fn tell(spec: &str) {
    let mut annotations = Annotations::new(read(spec).unwrap().as_ref()).unwrap();
    annotations.began(began);
    // Faults are on.
    tokio::time::sleep(Duration::from_millis(300)).await;
    annotations.ended(ended).await;
}

#[tokio::test]
async fn grafana_gets_one_annotation_with_an_end() {
    let (url, asked) = receiver(0).await;
    let mut token = tempfile::NamedTempFile::new().unwrap();
    writeln!(token, "glsa_secret").unwrap();
    let more = format!("dashboard = \"k1\", token_file = {:?}", token.path());
    tell(&format!("[annotate]\ngrafana = {{ url = \"{url}/grafana/\", {more} }}")).await;
    let asked = asked.lock().unwrap().clone();
    let [first, second] = &asked[..] else { panic!("{asked:?}") };
    let text =
        "slow-database: delay, drop on /system.slice/checkout for at most 30s\nHypothesis: p99 &lt; 300ms";
    let tags = ["kchaos", "slow-database", "delay", "drop", "postgres"];
    let expected = json!({ "dashboardUID": "k1", "time": 1_700_000_000_123_u64, "text": text, "tags": tags });
    assert_eq!(("POST", "/grafana/api/annotations"), (&*first.0, &*first.1));
    assert_eq!(("Bearer glsa_secret", &expected), (&*first.2, &first.3));
    assert_eq!(("PATCH", "/grafana/api/annotations/42"), (&*second.0, &*second.1));
    assert_eq!(json!(1_700_000_030_123_u64), second.3["timeEnd"]);
    assert_eq!(
        json!(["kchaos", "slow-database", "falsified", "delay", "drop", "postgres"]),
        second.3["tags"]
    );
    assert!(second.3.get("time").is_none() && second.3.get("dashboardUID").is_none(), "{second:?}");
}

#[tokio::test]
async fn a_grafana_that_was_away_at_the_beginning_gets_all_at_the_end() {
    let (url, asked) = receiver(1).await;
    tell(&format!("[annotate]\ngrafana = {{ url = \"{url}\" }}")).await;
    let asked = asked.lock().unwrap().clone();
    let (method, _, token, body) = asked.last().unwrap();
    assert_eq!((2, "POST", ""), (asked.len(), &**method, &**token));
    assert_eq!(
        (json!(1_700_000_000_123_u64), json!(1_700_000_030_123_u64)),
        (body["time"].clone(), body["timeEnd"].clone())
    );
}

#[tokio::test]
async fn a_collector_gets_two_events() {
    let server = MockServer::builder().protocol(Protocol::HttpBinary).start().await.unwrap();
    tell(&format!("[annotate]\nopentelemetry = {{ url = \"http://{}\" }}", server.addr())).await;
    server
        .with_collector(|collector| {
            assert_eq!(2, collector.log_count());
            collector
                .expect_log_with_body("slow-database: delay, drop on /system.slice/checkout for at most 30s")
                .with_resource_attributes([("service.name", "kchaos"), ("host.name", "node-7")])
                .with_attributes([
                    ("kchaos.experiment", "slow-database"),
                    ("kchaos.target", "/system.slice/checkout"),
                ])
                .assert_exists();
            collector
                .expect_log_with_body("slow-database: ended; falsified: p99 was 5 s")
                .with_attributes([("kchaos.verdict", "falsified"), ("kchaos.reason", "p99 was 5 s")])
                .with_attributes([("kchaos.injected", 4711)])
                .assert_exists();
        })
        .await;
    server.shutdown().await.unwrap();
}

#[test]
fn events_have_the_names_that_are_documented() {
    let name = |mark: &Mark| {
        super::opentelemetry::request(mark).resource_logs[0].scope_logs[0].log_records[0].event_name.clone()
    };
    assert_eq!("kchaos.experiment.started", name(&began()));
    assert_eq!("kchaos.experiment.ended", name(&ended()));
}

#[tokio::test]
async fn one_that_never_answers_holds_nobody_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let begun = tokio::time::Instant::now();
    tell(&format!("[annotate]\ngrafana = {{ url = \"{url}\" }}\nopentelemetry = {{ url = \"{url}\" }}"))
        .await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[test]
fn secrets_are_read_before_anything_is_applied() {
    let new = |path: &str| {
        let spec =
            format!("[annotate]\nopentelemetry = {{ url = \"http://127.0.0.1:1\", token_file = {path:?} }}");
        Annotations::new(read(&spec).unwrap().as_ref()).map(drop)
    };
    assert!(matches!(new("/nowhere/token"), Err(AnnotateError::Token { .. })));
    assert!(matches!(new("/dev/zero"), Err(AnnotateError::Token { .. })));
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(new(empty.path().to_str().unwrap()), Err(AnnotateError::NoToken { .. })));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"two\nlines").unwrap();
    assert!(matches!(new(file.path().to_str().unwrap()), Err(AnnotateError::NoToken { .. })));
}

#[test]
fn mistakes_are_said_with_their_place() {
    for (text, message) in [
        ("[annotate]", "tells nobody"),
        ("[annotate]\ngraphana = { url = \"http://g\" }", "unknown field `graphana`"),
        ("[annotate]\ngrafana = {}", "url"),
        ("[annotate]\ngrafana = { url = \"g:3000\" }", "neither http nor https"),
        ("[annotate]\ngrafana = { url = \"http://g/?orgId=1\" }", "has an end already"),
        ("[annotate]\ngrafana = { url = \"http://a:b@g\" }", "password"),
        ("[annotate]\ngrafana = { url = \"http://g\", token_file = \"t\" }", "no absolute path"),
        ("[annotate]\ngrafana = { url = \"http://g\", dashboard = \"a b\" }", "not the UID"),
        (
            "[annotate]\nopentelemetry = { url = \"http://g\", dashboard = \"a\" }",
            "unknown field `dashboard`",
        ),
    ] {
        let problem = read(text).unwrap_err();
        assert!(problem.message.contains(message), "{text}: {problem:?}");
        assert!(problem.span.is_some(), "{text}: {problem:?}");
    }
    assert_eq!(None, read("").unwrap());
}
