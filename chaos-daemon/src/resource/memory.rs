//! `memory`: a cgroup is squeezed to a share of the memory that it uses now. The kernel takes pages back, its caches first,
//! and what it cannot take back slows the processes down; with `oom` they must do with it, or the kernel kills one of them.

use std::io;

use super::{Change, Folder, Hold, files::NO_LIMIT};
use crate::config::value::Share;

const IN_USE: &str = "memory.current";
const HIGH: &str = "memory.high";
const MAX: &str = "memory.max";

/// What is asked for.
#[derive(Debug)]
pub struct Memory {
    /// Of what is in use when it begins.
    pub to: Share,
    /// Whether more is refused, and not only slowed down.
    pub oom: bool,
}

impl Hold for Memory {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn controller(&self) -> Option<&'static str> {
        Some("memory")
    }

    fn files(&self) -> &'static [&'static str] {
        if self.oom { &[IN_USE, HIGH, MAX] } else { &[IN_USE, HIGH] }
    }

    fn changes(&self, cgroup: &Folder) -> io::Result<Vec<Change>> {
        let in_use = cgroup.read(IN_USE)?;
        let in_use: u64 =
            in_use.parse().map_err(|_| io::Error::other(format!("{IN_USE} has \"{in_use}\"")))?;
        let wanted = part_of(in_use, self.to, page());
        let mut changes = Vec::new();
        // First what makes the kernel take pages back, so that as little as possible is killed.
        for file in if self.oom { &[HIGH, MAX][..] } else { &[HIGH] } {
            let found = cgroup.read(file)?;
            if is_lower(wanted, &found) {
                changes.push(Change { file: (*file).to_owned(), key: None, found, ours: wanted.to_string() });
            }
        }
        Ok(changes)
    }
}

/// So much of it, in whole pages, as the kernel counts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a size in memory: neither negative nor anywhere near 2^52"
)]
fn part_of(in_use: u64, share: Share, page: u64) -> u64 {
    let part = (in_use as f64 * share.fraction()) as u64;
    (part / page).max(1) * page
}

fn is_lower(wanted: u64, limit: &str) -> bool {
    limit == NO_LIMIT || limit.parse::<u64>().is_ok_and(|limit| wanted < limit)
}

fn page() -> u64 {
    // SAFETY: no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).ok().filter(|size| *size > 0).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_in_whole_pages() {
        let share = |text: &str| text.parse::<Share>().unwrap();
        assert_eq!(50 << 20, part_of(100 << 20, share("50%"), 4096));
        assert_eq!(4096, part_of(10_000, share("50%"), 4096));
        assert_eq!(4096, part_of(0, share("50%"), 4096));
        assert_eq!(8192, part_of(12_287, share("100%"), 4096));
    }

    #[test]
    fn a_limit_is_never_raised() {
        assert!(is_lower(4096, "max") && is_lower(4096, "8192"));
        assert!(!is_lower(4096, "4096") && !is_lower(8192, "4096") && !is_lower(1, "odd"));
    }
}
