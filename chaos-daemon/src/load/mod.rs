//! Load for services that have none: requests at a constant rate, sent when they are due whether or not earlier ones have
//! been answered, as users do. [`statistics`] is what becomes of them.
//!
//! What must stay true: a request that is answered late counts as late from the moment at which it was due (nothing is
//! hidden by waiting for the one before it), the number that are under way is bounded, and what could not be sent for
//! that is counted as failed.

mod statistics;

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use reqwest::{Client, Url};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

pub use statistics::{LONGEST_WINDOW, Statistics, What};

use crate::{
    config::{
        Problem, Section,
        value::{Count, Span, Statuses},
    },
    measure::{self, MeasureError},
};

/// `[load]`, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadSpec {
    /// What is asked for, by GET.
    pub url: Url,
    /// Requests per second.
    pub rate: u32,
    /// How long one may take; then it has failed.
    pub timeout: Duration,
    /// Statuses of which an answer must have one.
    pub status: Vec<Statuses>,
}

const MOST: u32 = 5000;
const TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);

/// What is sent first is not counted: connections are made, caches filled.
pub const WARM_UP: Duration = Duration::from_secs(2);

/// As many requests may be under way at a time.
const UNDER_WAY: usize = 4096;

impl LoadSpec {
    /// Reads `[load]`, if it is there.
    pub fn read(file: &mut Section<'_>) -> Result<Option<Self>, Problem> {
        let Some(mut table) = file.table("load")? else { return Ok(None) };
        let url = measure::url(&table.need::<String>("http", "\"http://127.0.0.1:8080/\"")?)?;
        let rate = table.need::<Count>("rate", "200")?;
        if !(1..=MOST).contains(&rate.get_ref().0) {
            let message = format!("a rate of {} requests per second is out of range", rate.get_ref().0);
            return Err(Problem::at(rate.span(), message, "out of range")
                .help(format!("write 1 to {MOST}; for more, use a load generator and probe it")));
        }
        let timeout = table.get::<Span>("timeout")?;
        if let Some(bad) = timeout.as_ref().filter(|t| t.get_ref().0.is_zero() || t.get_ref().0 > LONGEST) {
            let message = format!("`timeout` is out of range: {}", bad.get_ref());
            return Err(Problem::at(bad.span(), message, "out of range")
                .help(format!("a request may take more than 0 and at most {}", Span(LONGEST))));
        }
        let status = table.list::<Statuses>("status")?;
        table.finish()?;
        Ok(Some(Self {
            url,
            rate: rate.get_ref().0,
            timeout: timeout.map_or(TIMEOUT, |timeout| timeout.get_ref().0),
            status: status.map_or_else(
                || vec![Statuses::SUCCESS],
                |list| list.into_iter().map(toml::Spanned::into_inner).collect(),
            ),
        }))
    }

    /// In words.
    pub fn describe(&self) -> String {
        format!("{} requests per second to {}", self.rate, measure::shown(&self.url))
    }
}

/// Load that is being sent, until this is dropped.
pub struct Load {
    statistics: Arc<Statistics>,
    /// Dropped to end it.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Begins to send, from a thread of its own: leases must not wait for it.
    pub fn start(spec: &LoadSpec) -> Result<Self, MeasureError> {
        let client = measure::keeping_client(&spec.url)?;
        let statistics = Arc::new(Statistics::new(Instant::now() + WARM_UP));
        let (end, ended) = oneshot::channel();
        let (spec, shared) = (spec.clone(), Arc::clone(&statistics));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| MeasureError::Failed(format!("no runtime for the load: {e}")))?;
        let thread = std::thread::Builder::new().name("load".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = send(&spec, &client, &shared) => {}
                }
            });
        });
        let thread = thread.map_err(|e| MeasureError::Failed(format!("no thread for the load: {e}")))?;
        Ok(Self { statistics, end: Some(end), thread: Some(thread) })
    }

    /// What becomes of the requests.
    pub fn statistics(&self) -> Arc<Statistics> {
        Arc::clone(&self.statistics)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the load ended with a panic");
        }
    }
}

async fn send(spec: &LoadSpec, client: &Client, statistics: &Arc<Statistics>) {
    let mut ticks = time::interval(Duration::from_secs(1) / spec.rate);
    // Those that could not be sent in time are sent at once: they were due.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    loop {
        let due = ticks.tick().await.into_std();
        while requests.try_join_next().is_some() {}
        if requests.len() >= UNDER_WAY {
            statistics.not_sent(due);
            continue;
        }
        let number = statistics.begins(due);
        let (spec, client, statistics) = (spec.clone(), client.clone(), Arc::clone(statistics));
        requests.spawn(async move {
            let is_well = time::timeout(spec.timeout, ask(&spec, &client)).await.unwrap_or(false);
            statistics.ends(number, Instant::now(), is_well);
        });
    }
}

/// Whether it was answered as it should be, to the last byte.
async fn ask(spec: &LoadSpec, client: &Client) -> bool {
    let Ok(response) = client.get(spec.url.clone()).send().await else { return false };
    let status = response.status().as_u16();
    spec.status.iter().any(|statuses| statuses.contains(status)) && measure::body(response).await.is_ok()
}

#[cfg(test)]
mod tests;
