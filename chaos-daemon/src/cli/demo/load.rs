//! The demo's client: connections that send a request, wait for the answer, and are made anew now and then.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::service::MESSAGE;
use crate::cli::{Exit, Failure, output};

/// Connections at a time; every second one is IPv6.
const CONNECTIONS: u16 = 16;

/// Requests on one connection.
const REQUESTS_EACH: usize = 10;

/// Between two requests of one connection: a demo, not a benchmark.
const PAUSE: Duration = Duration::from_millis(1);

const TIMEOUT: Duration = Duration::from_secs(2);

/// Arguments of the client.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// Port of the service
    port: u16,
    /// How long to run, in seconds
    seconds: u64,
}

/// What the client saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// Requests tried.
    pub requests: u64,
    /// Those that failed, by what went wrong.
    pub errors: BTreeMap<String, u64>,
    /// Median time of an answered request, the connect included where there was one, in milliseconds.
    pub p50_ms: f64,
    /// The time that 99 % stay below, likewise.
    pub p99_ms: f64,
}

/// Runs the client and prints what it saw as JSON.
pub fn load(args: &LoadArgs) -> Result<Exit, Failure> {
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let address: SocketAddr = match n % 2 {
                0 => (Ipv4Addr::LOCALHOST, args.port).into(),
                _ => (Ipv6Addr::LOCALHOST, args.port).into(),
            };
            thread::spawn(move || work(address, until))
        })
        .collect();
    let mut seen = Seen::default();
    let mut times = Vec::new();
    for worker in workers {
        let (errors, answered) =
            worker.join().map_err(|_| anyhow::anyhow!("a worker of the client panicked"))?;
        seen.requests += errors.values().sum::<u64>() + answered.len() as u64;
        for (error, n) in errors {
            *seen.errors.entry(error).or_default() += n;
        }
        times.extend(answered);
    }
    times.sort_unstable();
    seen.p50_ms = quantile(&times, 0.50);
    seen.p99_ms = quantile(&times, 0.99);
    output::json(&seen)?;
    Ok(Exit::Done)
}

fn work(address: SocketAddr, until: Instant) -> (BTreeMap<String, u64>, Vec<Duration>) {
    let mut errors = BTreeMap::new();
    let mut answered = Vec::new();
    while Instant::now() < until {
        if let Err(error) = conversation(address, until, &mut answered) {
            *errors.entry(in_words(error.kind())).or_default() += 1;
        }
        thread::sleep(PAUSE);
    }
    (errors, answered)
}

fn conversation(address: SocketAddr, until: Instant, answered: &mut Vec<Duration>) -> std::io::Result<()> {
    let mut begun = Instant::now();
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    let mut message = [0; MESSAGE];
    for _ in 0..REQUESTS_EACH {
        connection.write_all(&message)?;
        connection.read_exact(&mut message)?;
        answered.push(begun.elapsed());
        if Instant::now() >= until {
            break;
        }
        thread::sleep(PAUSE);
        begun = Instant::now();
    }
    Ok(())
}

fn in_words(error: ErrorKind) -> String {
    match error {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "timed out".to_owned(),
        other => other.to_string(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the list")]
fn quantile(sorted: &[Duration], q: f64) -> f64 {
    let index = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |t| (t.as_secs_f64() * 1e5).round() / 100.0)
}
