//! Containers that a runtime lists and that cannot be hit, as no cgroup is found for them.
//!
//! What must stay true: whoever named one is told so once; one that just ends or is restarted while an experiment runs,
//! and stands in the list for a moment longer, is not told of.

use std::{
    collections::BTreeMap,
    mem,
    time::{Duration, Instant},
};

/// The list is as old as this at most, as a rule.
const GRACE: Duration = Duration::from_secs(1);

/// Those that are missing now, by id.
#[derive(Debug, Default)]
pub(super) struct Unfound {
    /// Whether it is more than the first look.
    looked: bool,
    missing: BTreeMap<String, Missing>,
}

#[derive(Debug)]
struct Missing {
    name: String,
    since: Instant,
    told: bool,
}

impl Unfound {
    /// Notes ids and names of all that are missing `now`.
    pub fn note(&mut self, missing: impl Iterator<Item = (String, String)>, now: Instant) {
        let mut before = mem::take(&mut self.missing);
        // At the start nobody knows of a time when it was there.
        let since = if self.looked { Some(now) } else { now.checked_sub(GRACE) };
        self.looked = true;
        self.missing = missing
            .map(|(id, name)| {
                let first = Missing { name, since: since.unwrap_or(now), told: false };
                let known = before.remove(&id).unwrap_or(first);
                (id, known)
            })
            .collect();
    }

    /// The names of those to tell about `now`, each once.
    pub fn news(&mut self, now: Instant) -> Vec<String> {
        let is_news = |missing: &&mut Missing| !missing.told && now.duration_since(missing.since) >= GRACE;
        let tell = |missing: &mut Missing| {
            missing.told = true;
            missing.name.clone()
        };
        self.missing.values_mut().filter(is_news).map(tell).collect()
    }

    /// The names of all.
    pub fn names(&self) -> Vec<String> {
        self.missing.values().map(|missing| missing.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(names: &[&str]) -> impl Iterator<Item = (String, String)> {
        names.iter().map(|name| (format!("id of {name}"), (*name).to_owned())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn whoever_is_missing_at_the_start_is_told_of_once() {
        let (mut unfound, now) = (Unfound::default(), Instant::now() + 2 * GRACE);
        unfound.note(missing(&["a", "b"]), now);
        assert_eq!(["a", "b"], *unfound.names());
        assert_eq!(["a", "b"], *unfound.news(now));
        unfound.note(missing(&["a", "b"]), now + 2 * GRACE);
        assert!(unfound.news(now + 2 * GRACE).is_empty());
        unfound.note(missing(&[]), now + 2 * GRACE);
        assert!(unfound.names().is_empty());
    }

    #[test]
    fn whoever_is_missing_later_is_told_of_unless_it_is_just_ending() {
        let (mut unfound, start) = (Unfound::default(), Instant::now() + 2 * GRACE);
        unfound.note(missing(&[]), start);
        let at = |part: u32| start + GRACE * part / 4;
        for part in 1..=2 {
            unfound.note(missing(&["ending", "stays"]), at(part));
            assert!(unfound.news(at(part)).is_empty());
        }
        unfound.note(missing(&["stays"]), at(5));
        assert_eq!(["stays"], *unfound.news(at(5)));
        assert!(unfound.news(at(6)).is_empty());
    }
}
