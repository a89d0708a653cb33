//! Patterns that would take in the whole machine, however they are written.
//!
//! A pattern is judged by what it matches: one that fits the slices of services and of users alike, as systemd names
//! them, or whatever lies right below both, tells nobody apart from anybody else. The whole machine is to be meant,
//! not come by.

use std::ops::Range;

use glob::{MatchOptions, Pattern};

use super::Problem;

/// What services and what users run below.
const SLICES: [&str; 2] = ["system.slice", "user.slice"];

/// The slice that all others are in: the root cgroup.
const ROOT_SLICE: &str = "-.slice";

/// A name of private characters (U+E000): only what matches any name matches it.
const ANY: &str = "/\u{e000}\u{e000}\u{e000}\u{e000}\u{e000}\u{e000}\u{e000}\u{e000}";

/// Where the hierarchy is mounted, as a rule.
const MOUNT: [&str; 3] = ["sys", "fs", "cgroup"];

/// Kinds of units that have cgroups.
const UNIT_TYPES: [&str; 6] = [".service", ".scope", ".slice", ".socket", ".mount", ".swap"];

/// The name of a unit in full: without a type it is a service, as for systemctl.
pub fn unit_name(pattern: &str) -> String {
    let is_typed = UNIT_TYPES.iter().any(|kind| pattern.ends_with(kind));
    if is_typed { pattern.to_owned() } else { format!("{pattern}.service") }
}

/// Whether the root cgroup, or every cgroup at some depth below it, has such a path.
pub fn is_every_cgroup(pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let parts = parts.strip_prefix(&MOUNT).unwrap_or(&parts);
    let Ok(pattern) = Pattern::new(&parts.join("/")) else { return false };
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
    let fits =
        |slice: &str, depth: usize| pattern.matches_with(&format!("{slice}{}", ANY.repeat(depth)), options);
    // What is deeper than the pattern is reached by `**` only, and then what is not so deep is reached as well.
    parts.is_empty() || (0..=parts.len()).any(|depth| SLICES.iter().all(|slice| fits(slice, depth)))
}

/// Whether the slices that everything runs in have such a name.
pub fn is_every_unit(pattern: &str) -> bool {
    let fits = |pattern: Pattern| pattern.matches(ROOT_SLICE) || SLICES.iter().all(|s| pattern.matches(s));
    Pattern::new(&unit_name(pattern)).is_ok_and(fits)
}

/// The refusal: `what` stands for the whole host.
pub fn whole_host(at: Range<usize>, what: &str) -> Problem {
    Problem::at(at, format!("{what} is the whole host"), "too wide")
        .help("to select every process of the host, say so: host = true; otherwise name fewer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_that_are_everything() {
        for pattern in [
            "/",
            "//",
            "./",
            "*",
            "/*",
            "/*/",
            "/./*",
            "/**",
            "/**/*",
            "/*/**",
            "/*/*",
            "/*/*/*",
            "/?*",
            "/*.*",
            "/*.slice",
            "/*.slice/*",
            "/*s*",
            "/[su]*",
            "/[!k]*",
            "/**/*.slice",
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/*",
        ] {
            assert!(is_every_cgroup(pattern), "{pattern}");
        }
    }

    #[test]
    fn cgroups_that_are_some() {
        for pattern in [
            "/system.slice",
            "/system.slice/*",
            "/system.slice/**",
            "/s*.slice/*",
            "/*m.slice",
            "/kubepods*",
            "/docker/*",
            "/**/checkout.service",
            "/**/web-*",
            "/*/checkout*",
            "/*/user@*",
            "/*/*/*.service",
            "/sys/fs/cgroup/web-*",
            "/[*]",
        ] {
            assert!(!is_every_cgroup(pattern), "{pattern}");
        }
    }

    #[test]
    fn units_that_are_everything_and_units_that_are_some() {
        for pattern in ["*.slice", "-.slice", "[-].slice", "?*.slice", "*e*.slice", "-*.slice"] {
            assert!(is_every_unit(pattern), "{pattern}");
        }
        for pattern in
            ["*", "*.service", "worker@*", "system.slice", "user-*.slice", "m*.slice", "-.mount", "*.scope"]
        {
            assert!(!is_every_unit(pattern), "{pattern}");
        }
    }

    #[test]
    fn a_unit_without_a_type_is_a_service() {
        assert_eq!("web.service", unit_name("web"));
        assert_eq!("web.slice", unit_name("web.slice"));
    }
}
