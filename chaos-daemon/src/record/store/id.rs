//! The name of a record's folder: `slow-postgres-20261123T013000Z-kfqx`, the experiment, the time of its start in UTC,
//! four letters that keep apart what started in the same second.

use std::hash::{BuildHasher, Hasher, RandomState};

use jiff::Timestamp;

const TIME: &str = "%Y%m%dT%H%M%SZ";
const TIME_LENGTH: usize = "20261123T013000Z".len();
const LETTERS: usize = 4;

/// A new name for a run of `experiment` that starts at `time`.
pub fn id(experiment: &str, time: Timestamp) -> String {
    let usable = |c: char| if crate::config::is_name_character(c) { c } else { '-' };
    let name: String = experiment.chars().take(63).map(usable).collect();
    // A folder that begins with a dot is none that anybody sees.
    let name = match name.strip_prefix('.') {
        Some(rest) => format!("-{rest}"),
        None if name.is_empty() => "experiment".to_owned(),
        None => name,
    };
    format!("{name}-{}-{}", time.strftime(TIME), letters())
}

/// The same run under another name: somebody else has this one.
pub fn another(id: &str) -> String {
    match id.len().checked_sub(LETTERS).and_then(|at| id.get(..at)) {
        Some(rest) => format!("{rest}{}", letters()),
        None => format!("{id}-{}", letters()),
    }
}

/// Whether a folder may have been named by [`id`], and then the part with the time, by which names can be ordered.
pub fn time_of(id: &str) -> Option<&str> {
    let (rest, letters) = id.rsplit_once('-')?;
    let (name, time) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_time = time.is_ascii()
        && time.len() == TIME_LENGTH
        && digits(&time[..8])
        && &time[8..9] == "T"
        && digits(&time[9..15])
        && time.ends_with('Z');
    let are_letters = letters.len() == LETTERS && letters.bytes().all(|byte| byte.is_ascii_lowercase());
    (is_time && are_letters && !name.is_empty() && name.chars().all(crate::config::is_name_character))
        .then_some(time)
}

/// Four letters by chance. The standard library seeds its hash maps from the kernel; so much chance is plenty here.
pub fn letters() -> String {
    let mut drawn = RandomState::new().build_hasher().finish();
    let mut text = String::with_capacity(LETTERS);
    for _ in 0..LETTERS {
        // Below 26, so it is a letter.
        text.push(char::from(b'a' + u8::try_from(drawn % 26).unwrap_or_default()));
        drawn /= 26;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::{another, id, time_of};

    fn noon() -> Timestamp {
        "2026-11-23T01:30:00.9Z".parse().unwrap()
    }

    #[test]
    fn a_name_has_experiment_time_and_letters() {
        let made = id("slow-postgres", noon());
        assert!(made.starts_with("slow-postgres-20261123T013000Z-"), "{made}");
        assert_eq!(Some("20261123T013000Z"), time_of(&made));
        let other = another(&made);
        assert_eq!(made.len(), other.len());
        assert_eq!(Some("20261123T013000Z"), time_of(&other));
    }

    #[test]
    fn names_in_the_same_second_differ() {
        let names: BTreeSet<String> = (0..50).map(|_| id("x", noon())).collect();
        assert!(names.len() > 45, "{names:?}");
    }

    #[test]
    fn no_name_leaves_the_folder_or_hides() {
        for bad in ["../../etc", "..", ".hidden", "a/b", "", "é\0"] {
            let made = id(bad, noon());
            assert!(!made.contains(['/', '\0']) && !made.starts_with('.'), "{made}");
            assert!(time_of(&made).is_some(), "{made}");
        }
    }

    #[test]
    fn other_folders_are_not_taken_for_ours() {
        for other in [
            "lost+found",
            "x-20261123T013000Z",
            "x-20261123T013000Z-ABCD",
            "x-20261123T013000Z-abcde",
            "-20261123T013000Z-abcd",
            "x-2026112ST013000Z-abcd",
            "ä-20261123T013000Z-abcd",
            "x-2026112éT01300Z-abcd",
        ] {
            assert_eq!(None, time_of(other), "{other}");
        }
    }
}
