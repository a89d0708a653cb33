//! Version numbers as programs and packages print them.
//!
//! Debian's versions are no semantic versions (`1:1.95.0+dfsg1-1~deb12u2`), and what is compared here is the
//! upstream part alone; so three numbers are all there is to it.

use std::fmt;

/// The upstream part of a version: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The first version number in a text such as `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        // Debian counts renumberings in front of a colon.
        let upstream = word.split_once(':').map_or(word, |(_, rest)| rest);
        let upstream = upstream.trim_start_matches('v');
        let end = upstream.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upstream.len());
        let mut numbers = upstream.get(..end)?.split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self(major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn reads_what_programs_print() {
        for (text, expected) in [
            ("bpf-linker 0.10.4\n", Version(0, 10, 4)),
            ("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)", Version(1, 96, 0)),
            ("rustc 1.97.0-nightly (e50aa6fba 2026-05-19)", Version(1, 97, 0)),
            ("1.85", Version(1, 85, 0)),
            ("v1.2.3", Version(1, 2, 3)),
        ] {
            assert_eq!(Version::find(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn reads_what_debian_calls_versions() {
        assert_eq!(Version::find("1.96.0+dfsg1-1~deb12u2"), Some(Version(1, 96, 0)));
        assert_eq!(Version::find("5:7.0.15-1~deb12u10"), Some(Version(7, 0, 15)));
        assert_eq!(Version::find("0.66.0+ds1-1"), Some(Version(0, 66, 0)));
    }

    #[test]
    fn finds_no_version_where_there_is_none() {
        for text in ["", "(none)", "bpf-linker", "7", "error: 3 problems", ".", "1."] {
            assert_eq!(Version::find(text), None, "{text}");
        }
    }

    #[test]
    fn orders_by_number_and_not_by_letter() {
        assert!(Version(0, 10, 4) > Version(0, 9, 15));
        assert!(Version(1, 95, 0) > Version(1, 63, 0));
    }
}
