//! Ending experiments: in the kernel first, then for whoever looks after them.
//!
//! What must stay true: nothing is waited for, looked up or written down before the faults are off.

use std::{sync::atomic::Ordering, time::Duration};

use super::{Daemon, HaltAnswer, Peer, Refusal, entry::Entry};
use crate::{
    bpf,
    engine::{Ended, boot_ns},
    printable::printable,
};

/// How long threads may take to detach what is off already.
const STOP: Duration = Duration::from_secs(3);

impl Daemon {
    /// Switches experiments off, all of this host if no name is given, and waits for their threads to detach them.
    pub async fn halt(&self, peer: &Peer, name: Option<&str>) -> Result<HaltAnswer, Refusal> {
        let received_ns = boot_ns();
        let halted = self.switch_off_all(name);
        let halted = halted.map(|(mut answer, known)| {
            if name.is_none() {
                halt_others(&known, &mut answer);
            }
            HaltAnswer { received_ns, off_ns: boot_ns(), ..answer }
        });
        let words = name.map_or_else(|| "halt --all".to_owned(), |name| format!("halt {}", printable(name)));
        let said = match &halted {
            None => "there is none of that name".to_owned(),
            Some(HaltAnswer { halted, others, failed, .. }) => {
                format!(
                    "halted {} ({}), and {others} of no daemon; failed: {}",
                    halted.len(),
                    halted.join(", "),
                    failed.len()
                )
            }
        };
        // Written down afterwards: nothing keeps an experiment from being halted.
        if let Err(error) = self.audit.answer(peer, &words, &said) {
            self.not_written(&error);
        }
        self.totals.halted();
        let answer = halted.ok_or_else(|| Refusal::unknown(name.unwrap_or_default()))?;
        self.wait_until(&answer.halted, STOP, |entry| entry.is_done).await;
        Ok(answer)
    }

    /// The kernel first, then those who look after them. `None`: there is none of that name. Answers with the switches of
    /// all that run, too.
    fn switch_off_all(&self, name: Option<&str>) -> Option<(HaltAnswer, Vec<u32>)> {
        let mut answer = HaltAnswer::default();
        let mut experiments = self.experiments();
        if name.is_some_and(|name| !experiments.contains_key(name)) {
            return None;
        }
        let meant = |(other, _): &(&String, &mut Entry)| name.is_none_or(|name| name == other.as_str());
        for (name, entry) in experiments.iter_mut().filter(meant) {
            if let Err(error) = entry.switch_off() {
                answer.failed.push(format!("{name}: {error}"));
            }
        }
        for (name, entry) in experiments.iter_mut().filter(meant) {
            if entry.is_alive() {
                answer.halted.push(name.clone());
            }
            // Also one that has just ended: it might be about to wait for its next run.
            entry.orders.send_replace(Some(Ended::Halted));
        }
        let live = experiments.values().filter_map(|entry| entry.live.as_ref());
        Some((answer, live.map(|live| live.switch.id()).collect()))
    }

    /// Ends all experiments, and waits for them so long.
    pub async fn end_all(&self, why: &str, patience: Duration) {
        let names = self.close(why);
        self.wait_until(&names, patience, |entry| entry.is_told).await;
    }

    /// Tells one to end.
    pub(super) fn order(&self, name: &str, uid: &str, end: Ended) {
        if let Some(entry) = self.experiments().get(name).filter(|entry| entry.uid == uid) {
            entry.orders.send_replace(Some(end));
        }
    }

    /// Takes nothing over any more, and tells all to end. Answers with those that do, and those whose end is being told.
    fn close(&self, why: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut experiments = self.experiments();
        self.closing.store(true, Ordering::Relaxed);
        for (name, entry) in experiments.iter_mut().filter(|(_, entry)| !entry.is_told) {
            if let Err(error) = entry.switch_off() {
                tracing::error!(experiment = name, "switching it off: {error}");
            }
            entry.orders.send_replace(Some(Ended::Interrupted(why.to_owned())));
            names.push(name.clone());
        }
        names
    }

    async fn wait_until(&self, names: &[String], patience: Duration, is_so: impl Fn(&Entry) -> bool) {
        let is_missing = || {
            let experiments = self.experiments();
            names.iter().any(|name| experiments.get(name).is_some_and(|entry| !is_so(entry)))
        };
        let _or_not = tokio::time::timeout(patience, async {
            while is_missing() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

/// Those of this host that are not among the daemon's own.
fn halt_others(known: &[u32], answer: &mut HaltAnswer) {
    match bpf::halt_all_but(known) {
        Ok(bpf::Halted { halted, failed }) => {
            answer.others = halted;
            answer.failed.extend(failed);
        }
        Err(error) => answer.failed.push(error.to_string()),
    }
}
