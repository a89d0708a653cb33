//! Watches the test that runs: what it notes, what it dies of, and whether it ever ends.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::Write as _,
    panic::{self, PanicHookInfo},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::emit;

static CURRENT: Mutex<Option<Current>> = Mutex::new(None);
static SHOW: AtomicBool = AtomicBool::new(false);

struct Current {
    name: &'static str,
    begun: Instant,
    limit: Duration,
    notes: String,
    failure: Option<Failure>,
}

/// What a test died of.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The message of the first panic, and where it was.
    pub reason: String,
    backtrace: String,
    notes: String,
}

impl Failure {
    /// What a test in a process of its own died of: its first line is the reason, as [`Self::in_full`] says it.
    pub fn of_a_process(said: &str) -> Self {
        let (reason, notes) = said.split_once('\n').unwrap_or((said, ""));
        Self { reason: reason.to_owned(), backtrace: String::new(), notes: notes.to_owned() }
    }

    /// With everything that was noted.
    pub fn in_full(&self) -> String {
        let Self { reason, backtrace, notes } = self;
        [reason, backtrace, notes]
            .into_iter()
            .filter(|t| !t.is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Something worth knowing if the test fails; shown at once with `--nocapture`.
pub fn note(text: &str) {
    if SHOW.load(Ordering::Relaxed) {
        println!("{text}");
    }
    if let Some(current) = CURRENT.lock().unwrap().as_mut() {
        current.notes += &format!("{text}\n");
    }
}

/// Starts to watch.
pub fn install(show: bool) {
    SHOW.store(show, Ordering::Relaxed);
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if SHOW.load(Ordering::Relaxed) || !remember(info) {
            default(info);
        }
    }));
    thread::spawn(|| {
        loop {
            thread::sleep(Duration::from_millis(500));
            end_what_hangs();
        }
    });
}

/// The first panic is the cause; others may follow from it, on the threads that waited. Answers whether it is kept.
fn remember(info: &PanicHookInfo) -> bool {
    // A panic while this was locked is one of ours: it must not wait for itself.
    let Ok(mut current) = CURRENT.try_lock() else { return false };
    let Some(current) = current.as_mut() else { return false };
    if current.failure.is_none() {
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        let place = info.location().map_or_else(String::new, |l| format!(" ({}:{})", l.file(), l.line()));
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => backtrace.to_string(),
            _ => String::new(),
        };
        current.failure =
            Some(Failure { reason: format!("{message}{place}"), backtrace, notes: String::new() });
    }
    true
}

/// A test that hangs cannot be ended, only the process it is in.
fn end_what_hangs() {
    let current = CURRENT.lock().unwrap();
    let Some(Current { name, begun, limit, notes, .. }) = current.as_ref() else { return };
    if begun.elapsed() <= *limit {
        return;
    }
    let (seconds, limit) = (begun.elapsed().as_secs_f64(), limit.as_secs());
    let reason = format!("still running after {limit} s");
    emit(&json!({ "event": "end", "test": name, "outcome": "failed", "seconds": seconds, "reason": reason }));
    eprintln!("\n{name}: {reason}\n{notes}");
    let _flushed = std::io::stdout().flush();
    // Whatever holds a lock or a thread now must not keep us; what the test has started dies with it.
    // SAFETY: it does not return.
    unsafe { libc::_exit(101) }
}

/// A test that runs.
pub struct Watched;

impl Watched {
    /// From now on.
    pub fn start(name: &'static str, limit: Duration) -> Self {
        *CURRENT.lock().unwrap() =
            Some(Current { name, begun: Instant::now(), limit, notes: String::new(), failure: None });
        Self
    }

    /// It has ended; what it died of, if it did.
    pub fn end(self) -> Failure {
        let current = CURRENT.lock().unwrap().take();
        drop(self);
        let (failure, notes) = current.map_or((None, String::new()), |c| (c.failure, c.notes));
        let unknown = "it failed without a word".to_owned();
        let failure =
            failure.unwrap_or(Failure { reason: unknown, backtrace: String::new(), notes: String::new() });
        Failure { notes, ..failure }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        *CURRENT.lock().unwrap() = None;
    }
}
