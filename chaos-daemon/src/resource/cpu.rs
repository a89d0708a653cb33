//! `cpu`: a cgroup gets so much time of a CPU and no more, as beside a noisy neighbour or on too small a machine.

use std::io;

use super::{Change, Folder, Hold, files::NO_LIMIT};

const FILE: &str = "cpu.max";

/// The shortest quota and the longest period that the kernel takes, in microseconds.
const SHORTEST_QUOTA: f64 = 1_000.0;
const LONGEST_PERIOD: f64 = 1_000_000.0;

/// The smallest share of a CPU that these allow.
pub const SMALLEST: f64 = SHORTEST_QUOTA / LONGEST_PERIOD;

/// What is asked for.
#[derive(Debug)]
pub struct Cpu {
    /// How many CPUs: 0.2 is a fifth of one. At least [`SMALLEST`].
    pub cpus: f64,
}

impl Hold for Cpu {
    fn kind(&self) -> &'static str {
        "cpu"
    }

    fn controller(&self) -> Option<&'static str> {
        Some("cpu")
    }

    fn files(&self) -> &'static [&'static str] {
        &[FILE]
    }

    fn changes(&self, cgroup: &Folder) -> io::Result<Vec<Change>> {
        let found = cgroup.read(FILE)?;
        let there = Quota::read(&found)
            .ok_or_else(|| io::Error::other(format!("{FILE} has \"{found}\", which is no quota")))?;
        let ours = there.lowered_to(self.cpus);
        Ok(ours.map(|ours| Change { file: FILE.to_owned(), key: None, found, ours }).into_iter().collect())
    }
}

/// So much time in each period, in microseconds.
struct Quota {
    /// `None`: no limit.
    time: Option<f64>,
    period: f64,
}

impl Quota {
    fn read(text: &str) -> Option<Self> {
        let (time, period) = text.split_once(' ')?;
        let time = if time == NO_LIMIT { None } else { Some(time.parse().ok()?) };
        Some(Self { time, period: period.parse().ok()? })
    }

    /// The quota for so many CPUs, in the period that is there if that can be. `None`: it is no more already.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "microseconds of so many CPUs in a second, rounded"
    )]
    fn lowered_to(&self, cpus: f64) -> Option<String> {
        if self.time.is_some_and(|time| time / self.period <= cpus) {
            return None;
        }
        let period = self.period.max((SHORTEST_QUOTA / cpus).ceil()).min(LONGEST_PERIOD);
        let time = (cpus * period).round().max(SHORTEST_QUOTA);
        Some(format!("{} {}", time as u64, period as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_that_share_of_the_period() {
        for (found, cpus, expected) in [
            ("max 100000", 0.2, Some("20000 100000")),
            ("max 100000", 1.5, Some("150000 100000")),
            ("50000 100000", 0.2, Some("20000 100000")),
            // Of a period too short for the shortest quota.
            ("max 10000", 0.05, Some("1000 20000")),
            ("max 100000", 0.001, Some("1000 1000000")),
            // It has no more.
            ("20000 100000", 0.2, None),
            ("10000 100000", 0.2, None),
        ] {
            assert_eq!(expected, Quota::read(found).unwrap().lowered_to(cpus).as_deref(), "{found} {cpus}");
        }
        assert!(Quota::read("max").is_none() && Quota::read("much 100000").is_none());
    }
}
