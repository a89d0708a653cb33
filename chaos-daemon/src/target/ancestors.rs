//! Who started a process.

use std::{fs, iter};

/// No chain is longer than this; a number that is used again must not make it go round.
const LONGEST: usize = 64;

/// The process, its parent, and so on up, as far as they can be seen.
pub fn of(pid: i32) -> impl Iterator<Item = i32> {
    iter::successors(Some(pid), |pid| parent(*pid)).take(LONGEST)
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets: the fields are counted from the last one.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok().filter(|parent| *parent > 0)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_process_comes_first_and_its_parent_next() {
        let us = i32::try_from(std::process::id()).unwrap();
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!(Some(us), of(us).next());
        assert_eq!(Some(parent).filter(|pid| *pid > 0), of(us).nth(1));
        assert_eq!([i32::MAX], *of(i32::MAX).collect::<Vec<_>>());
    }
}
