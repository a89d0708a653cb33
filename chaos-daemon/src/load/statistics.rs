//! How requests fare: those that have ended within the last seconds, and those that should have.
//!
//! What must stay true: a service that answers nothing any more shows in the percentiles at once and not only when its
//! requests time out, so that requests which wait count with the time that they have waited, as soon as that is long.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The median of how long answers take, in seconds.
    P50,
    /// The time within which 99 of 100 are answered, in seconds.
    P99,
    /// The share that fails, 0 to 1.
    ErrorRate,
    /// Good answers per second.
    Throughput,
}

/// The longest time that can be looked back.
pub const LONGEST_WINDOW: Duration = Duration::from_mins(1);

/// A request that waits for so long counts before it has ended.
const LONG: Duration = Duration::from_millis(500);

/// Those of one load.
#[derive(Debug)]
pub struct Statistics {
    requests: Mutex<Requests>,
}

#[derive(Debug)]
struct Requests {
    since: Instant,
    last: u64,
    under_way: BTreeMap<u64, Instant>,
    ended: VecDeque<Ended>,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Instant,
    /// `None`: it was never sent.
    took: Option<Duration>,
    is_well: bool,
}

impl Statistics {
    /// Those of a load that counts from then on.
    pub fn new(since: Instant) -> Self {
        let requests = Requests { since, last: 0, under_way: BTreeMap::new(), ended: VecDeque::new() };
        Self { requests: Mutex::new(requests) }
    }

    /// A request that was due then is sent. Answers with its number.
    pub fn begins(&self, due: Instant) -> u64 {
        let mut requests = self.lock();
        requests.last += 1;
        let number = requests.last;
        requests.under_way.insert(number, due);
        number
    }

    /// It has ended.
    pub fn ends(&self, number: u64, at: Instant, is_well: bool) {
        let mut requests = self.lock();
        if let Some(due) = requests.under_way.remove(&number) {
            requests.push(Ended { at, took: Some(at.saturating_duration_since(due)), is_well });
        }
    }

    /// One that was due could not be sent, as too many are under way.
    pub fn not_sent(&self, due: Instant) {
        self.lock().push(Ended { at: due, took: None, is_well: false });
    }

    /// A number as of `now`, over the last `window`; `None` if nothing can be said yet.
    pub fn value(&self, what: What, window: Duration, now: Instant) -> Option<f64> {
        let requests = self.lock();
        let from = now.checked_sub(window).unwrap_or(requests.since).max(requests.since);
        let ended = || requests.ended.iter().filter(|ended| ended.at >= from && ended.at <= now);
        if now < requests.since {
            return None;
        }
        match what {
            What::P50 | What::P99 => {
                let waiting = requests.under_way.values().map(|due| now.saturating_duration_since(*due));
                let mut took: Vec<Duration> = ended()
                    .filter_map(|ended| ended.took)
                    .chain(waiting.filter(|waited| *waited >= LONG))
                    .collect();
                took.sort_unstable();
                let percent = if what == What::P50 { 50 } else { 99 };
                // The nearest rank: the smallest that at least this share does not exceed.
                let rank = (took.len() * percent).div_ceil(100);
                took.get(rank.saturating_sub(1)).map(Duration::as_secs_f64)
            }
            What::ErrorRate => {
                let all = ended().count();
                let failed = ended().filter(|ended| !ended.is_well).count();
                (all > 0).then(|| failed as f64 / all as f64)
            }
            What::Throughput => {
                let length = now.saturating_duration_since(from);
                let well = ended().filter(|ended| ended.is_well).count();
                (length >= Duration::from_secs(1)).then(|| well as f64 / length.as_secs_f64())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn push(&mut self, ended: Ended) {
        self.ended.push_back(ended);
        while self
            .ended
            .front()
            .is_some_and(|first| ended.at.saturating_duration_since(first.at) > LONGEST_WINDOW)
        {
            self.ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// A hundred requests, one every 10 ms, that take 1 to 100 ms; every tenth fails.
    fn hundred(start: Instant) -> Statistics {
        let statistics = Statistics::new(start);
        for n in 1..=100 {
            let number = statistics.begins(after(start, n * 10));
            statistics.ends(number, after(start, n * 10 + n), n % 10 != 0);
        }
        statistics
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let start = Instant::now();
        let (statistics, now) = (hundred(start), after(start, 2_000));
        assert_eq!(Some(0.050), statistics.value(What::P50, WINDOW, now));
        assert_eq!(Some(0.099), statistics.value(What::P99, WINDOW, now));
        assert_eq!(Some(0.1), statistics.value(What::ErrorRate, WINDOW, now));
        assert_eq!(Some(45.0), statistics.value(What::Throughput, WINDOW, now));
    }

    #[test]
    fn what_is_past_is_past() {
        let start = Instant::now();
        let (statistics, now) = (hundred(start), after(start, 9_000));
        for what in [What::P50, What::P99, What::ErrorRate] {
            assert_eq!(None, statistics.value(what, WINDOW, now), "{what:?}");
        }
        assert_eq!(Some(0.0), statistics.value(What::Throughput, WINDOW, now));
    }

    #[test]
    fn those_that_wait_for_long_count_before_they_end() {
        let start = Instant::now();
        let statistics = hundred(start);
        for n in 0..200 {
            statistics.begins(after(start, 2_000 + n));
        }
        assert_eq!(Some(0.099), statistics.value(What::P99, WINDOW, after(start, 2_100)));
        let waited = statistics.value(What::P99, WINDOW, after(start, 4_200)).unwrap();
        assert!((2.1..2.3).contains(&waited), "{waited}");
        // None of them has failed yet.
        assert_eq!(Some(0.1), statistics.value(What::ErrorRate, WINDOW, after(start, 4_200)));
    }

    #[test]
    fn what_could_not_be_sent_has_failed_and_took_no_time() {
        let start = Instant::now();
        let statistics = Statistics::new(start);
        statistics.not_sent(after(start, 100));
        let now = after(start, 200);
        assert_eq!(Some(1.0), statistics.value(What::ErrorRate, WINDOW, now));
        assert_eq!(None, statistics.value(What::P99, WINDOW, now));
        assert_eq!(None, statistics.value(What::Throughput, WINDOW, now), "too early to tell");
    }

    #[test]
    fn no_more_is_kept_than_can_be_asked_for() {
        let start = Instant::now();
        let statistics = Statistics::new(start);
        for second in 0..300 {
            let number = statistics.begins(after(start, second * 1000));
            statistics.ends(number, after(start, second * 1000 + 1), true);
        }
        assert_eq!(61, statistics.lock().ended.len());
    }
}
