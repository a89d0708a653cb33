//! `tests/snapshots/verifier.json`: what every program costs on every kernel, as the suite has measured it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::report::Report;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Cost {
    verified: u32,
    jited: u32,
}

/// By "Linux 6.1, rustc 1.95", then by program.
type Snapshot = BTreeMap<String, BTreeMap<String, Cost>>;

/// Replaces the lists of the kernels and compilers that were measured; says whether anything changed.
pub fn renew<'a>(file: &Path, reports: impl Iterator<Item = &'a Report>) -> Result<bool> {
    let before = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut snapshot: Snapshot =
        serde_json::from_str(&before).with_context(|| format!("{} cannot be read", file.display()))?;
    snapshot.extend(measured(reports));
    let after = serde_json::to_string_pretty(&snapshot)? + "\n";
    if after == before {
        return Ok(false);
    }
    fs::write(file, after).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(true)
}

fn measured<'a>(reports: impl Iterator<Item = &'a Report>) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for report in reports {
        let Some(line) = &report.line else { continue };
        for cost in &report.costs {
            let list = snapshot.entry(format!("Linux {line}, rustc {}", cost.compiler)).or_default();
            list.insert(cost.program.clone(), Cost { verified: cost.verified, jited: cost.jited });
        }
    }
    snapshot
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::renew;
    use crate::matrix::report::Report;

    #[test]
    fn only_what_was_measured_is_replaced() {
        let file = std::env::temp_dir().join(format!("kchaos-snapshot-{}.json", std::process::id()));
        fs::write(
            &file,
            r#"{"Linux 6.1, rustc 1.95": {"gone": {"verified": 1, "jited": 2}},
                "Linux 6.18, rustc 1.95": {"kept": {"verified": 3, "jited": 4}}}"#,
        )
        .unwrap();
        let report = Report::parse(
            "{\"event\":\"kernel\",\"release\":\"6.1.0\",\"line\":\"6.1\"}\n\
             {\"event\":\"cost\",\"program\":\"new\",\"verified\":5,\"jited\":6,\"compiler\":\"1.95\"}\n",
        );
        let changed = renew(&file, std::iter::once(&report)).unwrap();
        let again = renew(&file, std::iter::once(&report)).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(changed && !again);
        assert!(text.contains("kept") && text.contains("\"new\": {\n      \"verified\": 5,"), "{text}");
        assert!(!text.contains("gone"), "{text}");
    }

    #[test]
    fn the_projects_own_snapshot_is_in_this_form() {
        let file = crate::sh::root().unwrap().join("tests/snapshots/verifier.json");
        assert!(!renew(&file, std::iter::empty()).unwrap(), "reading and writing it changes nothing");
    }
}
