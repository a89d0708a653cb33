//! Sockets that no runtime listens at: each gives one clear error, soon.

use std::{
    fs, io,
    os::unix::net::UnixListener as StdListener,
    path::Path,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::{Container, Failure, RuntimeError, Runtimes};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn ask(path: &Path) -> Result<Vec<Container>, RuntimeError> {
    Runtimes::new(Some(path.into())).containers().await
}

/// Answers to everything with these bytes, and closes or waits on.
fn serve(path: &Path, answer: &'static [u8], close: bool) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut said = [0; 4096];
            if !answer.is_empty() {
                let _read = stream.read(&mut said).await;
                let _written = stream.write_all(answer).await;
            }
            if !close {
                held.push(stream);
            }
        }
    });
}

#[test]
fn a_path_without_a_socket_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.sock");
    let plain = dir.path().join("plain");
    fs::write(&plain, "text").unwrap();
    let dead = dir.path().join("dead.sock");
    drop(StdListener::bind(&dead).unwrap());
    run(async {
        assert!(matches!(ask(&absent).await, Err(RuntimeError::Absent(p)) if p == absent));
        assert!(matches!(ask(&plain).await, Err(RuntimeError::NotASocket(p)) if p == plain));
        assert!(matches!(ask(dir.path()).await, Err(RuntimeError::NotASocket(_))));
        assert!(matches!(ask(&dead).await, Err(RuntimeError::NobodyListens(p)) if p == dead));
    });
}

#[test]
fn a_socket_that_is_not_for_us_is_said_to_be_so() {
    // Root may open everything, and the tests may run as root.
    let error = RuntimeError::of_path(Path::new("/run/x.sock"), io::ErrorKind::PermissionDenied.into());
    assert!(matches!(&error, RuntimeError::Permission(_)), "{error:?}");
    assert!(error.to_string().contains("/run/x.sock") && error.to_string().contains("root"), "{error}");
}

#[test]
fn garbage_is_nonsense() {
    let answers: [&[u8]; 5] = [
        b"what?\n",
        &[0xff; 300],
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"-ERR unknown command\r\n",
    ];
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for (n, answer) in answers.into_iter().enumerate() {
            let path = dir.path().join(format!("{n}.sock"));
            serve(&path, answer, true);
            let error = ask(&path).await.unwrap_err();
            assert!(
                matches!(&error, RuntimeError::Nonsense { path: at, .. } if *at == path),
                "{n}: {error:?}"
            );
            assert!(!error.to_string().contains('\n'), "{error}");
            println!("{error}");
        }
    });
}

#[test]
fn what_a_runtime_says_is_shown_and_not_obeyed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let _listens = StdListener::bind(&path).unwrap();
    let said = || "no\u{1b}[2J\nforged".to_owned();
    run(async {
        for failure in [
            Failure::Connection(said()),
            Failure::Nonsense(said()),
            Failure::Unimplemented(said()),
            Failure::Refused(said()),
        ] {
            let error = RuntimeError::of_call(&path, failure).await.to_string();
            assert!(error.ends_with(": no\\u{1b}[2J\\nforged"), "{error}");
        }
    });
}

#[test]
fn silence_is_not_waited_for_longer_than_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("silent.sock");
    run(async {
        serve(&path, b"", false);
        let mut runtimes = Runtimes::new(Some(path.clone()));
        for _ in 0..2 {
            let begun = Instant::now();
            let error = runtimes.containers().await.unwrap_err();
            let took = begun.elapsed();
            assert!(matches!(&error, RuntimeError::TimedOut(at) if *at == path), "{error:?}");
            assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&took), "{took:?}");
        }
    });
}

#[test]
fn docker_is_known_by_its_answer_and_found_again_after_a_restart() {
    /// One answer to both questions that are asked.
    fn docker(path: &Path) -> tokio::task::JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut said = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut said).await {
                    let body = match &said[..n] {
                        b if b.starts_with(b"GET /version") => r#"{"ApiVersion":"1.47"}"#,
                        b if b.starts_with(b"GET /containers/json") => r#"[{"Id":"1","Names":["/web"]}]"#,
                        // Not HTTP/1.
                        _ => break,
                    };
                    let length = body.len();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        })
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    run(async {
        let mut runtimes = Runtimes::new(Some(path.clone()));
        assert!(matches!(runtimes.containers().await, Err(RuntimeError::Absent(_))));
        for _ in 0..2 {
            let server = docker(&path);
            for _ in 0..2 {
                let found = runtimes.containers().await.unwrap();
                assert_eq!(
                    [("web", "docker")],
                    *found.iter().map(|c| (&*c.name, c.runtime)).collect::<Vec<_>>()
                );
            }
            server.abort();
            let _ended = server.await;
            fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn several_failures_are_one_error() {
    let errors = || vec![RuntimeError::Absent("/a".into()), RuntimeError::NotASocket("/b".into())];
    let all = RuntimeError::of_all(errors()).to_string();
    assert!(all.contains("/a") && all.contains("/b"), "{all}");
    assert!(matches!(RuntimeError::of_all(errors().split_off(1)), RuntimeError::NotASocket(_)));
}
