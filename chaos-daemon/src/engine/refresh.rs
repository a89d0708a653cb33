//! Host names while an experiment runs: looked up again and again, on a task of its own, because a name server may
//! hang. The session takes what was found when it keeps itself alive.

use std::{collections::BTreeSet, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use super::{follow::What, names, tables::Addresses};

/// How often host names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(2);

/// Addresses of the host names as they are looked up again and again, and why they could not be.
pub struct Names {
    news: watch::Receiver<Addresses>,
    errors: std::sync::mpsc::Receiver<(String, String)>,
    task: JoinHandle<()>,
    known: Addresses,
}

impl Names {
    /// Begins to look up, if there is a name in `known`, which are the addresses at the start.
    /// Names in `growing` only ever get more addresses.
    pub fn start(known: &Addresses, growing: BTreeSet<String>) -> Option<Self> {
        if known.is_empty() {
            return None;
        }
        let (send, news) = watch::channel(known.clone());
        let (complain, errors) = std::sync::mpsc::channel();
        let mut latest = known.clone();
        let mut failing = BTreeSet::new();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RESOLVE_EVERY).await;
                let failed = names::again(&mut latest, &growing).await;
                // Once, until it has worked again.
                for (name, error) in failed.iter().filter(|(name, _)| !failing.contains(name)) {
                    let _nobody_listens_any_more = complain.send((name.clone(), error.clone()));
                }
                failing = failed.into_iter().map(|(name, _)| name).collect();
                send.send_if_modified(|shown| {
                    let changed = *shown != latest;
                    shown.clone_from(&latest);
                    changed
                });
            }
        });
        Some(Self { news, errors, task, known: known.clone() })
    }

    /// What has changed since the last time, and all addresses if any has.
    pub fn changes(&mut self) -> (Vec<What>, Option<Addresses>) {
        let errors = self.errors.try_iter().map(|(name, error)| What::Unresolved { name, error });
        let mut changes: Vec<What> = errors.collect();
        if !self.news.has_changed().unwrap_or(false) {
            return (changes, None);
        }
        let now = self.news.borrow_and_update().clone();
        for (name, addresses) in &now {
            if self.known.get(name) != Some(addresses) {
                changes.push(What::Resolved { name: name.clone(), addresses: addresses.clone() });
            }
        }
        self.known.clone_from(&now);
        (changes, Some(now))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}
