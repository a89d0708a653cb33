//! Load on a real server.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use super::*;

/// A server that answers each request after `delay`, with this status; it ends with its test's process.
fn server(delay: Duration, status: &'static str) -> (Url, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || serve(stream, delay, status, &count));
        }
    });
    (url, asked)
}

fn serve(mut stream: TcpStream, delay: Duration, status: &str, count: &AtomicU32) {
    let mut request = [0; 4096];
    while stream.read(&mut request).is_ok_and(|n| n > 0) {
        count.fetch_add(1, Ordering::Relaxed);
        thread::sleep(delay);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn spec(url: Url, rate: u32) -> LoadSpec {
    LoadSpec { url, rate, timeout: Duration::from_secs(1), status: vec![Statuses::SUCCESS] }
}

fn value(load: &Load, what: What) -> f64 {
    load.statistics().value(what, Duration::from_secs(5), Instant::now()).unwrap()
}

/// Waiting for one answer before the next request would come to 10 per second.
#[test]
fn a_slow_server_gets_no_fewer_requests() {
    let (url, asked) = server(Duration::from_millis(100), "200 OK");
    let load = Load::start(&spec(url, 50)).unwrap();
    thread::sleep(WARM_UP + Duration::from_secs(2));
    let (p50, errors) = (value(&load, What::P50), value(&load, What::ErrorRate));
    drop(load);
    assert!((0.1..0.5).contains(&p50), "{p50}");
    assert!(errors < 0.05, "{errors}");
    let asked = asked.load(Ordering::Relaxed);
    assert!((160..=210).contains(&asked), "{asked}");
}

#[test]
fn statuses_and_time_limits_decide() {
    let (url, _) = server(Duration::ZERO, "503 Service Unavailable");
    let load = Load::start(&spec(url.clone(), 50)).unwrap();
    let tolerant = LoadSpec { status: vec!["500-599".parse().unwrap()], ..spec(url, 50) };
    let other = Load::start(&tolerant).unwrap();
    let (slow, _) = server(Duration::from_secs(5), "200 OK");
    let hung = Load::start(&LoadSpec { timeout: Duration::from_millis(300), ..spec(slow, 20) }).unwrap();
    thread::sleep(WARM_UP + Duration::from_millis(1500));
    assert!(value(&load, What::ErrorRate) > 0.99);
    assert!(value(&other, What::ErrorRate) < 0.01);
    assert!(value(&hung, What::ErrorRate) > 0.99);
    assert!(value(&hung, What::Throughput) < 0.1);
}

#[test]
fn nobody_there_is_a_failure_and_no_end() {
    let nowhere = Url::parse("http://127.0.0.1:1/").unwrap();
    let load = Load::start(&spec(nowhere, 50)).unwrap();
    thread::sleep(WARM_UP + Duration::from_millis(500));
    assert!(value(&load, What::ErrorRate) > 0.99);
}
