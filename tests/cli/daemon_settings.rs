//! configs/daemon.toml: what stands in it is right, and nothing is missing.

use std::{collections::BTreeSet, fs, path::Path};

use chaos_daemon::daemon::{Settings, load_settings};
use kchaos_tests::kchaos::{Ended, run};

const EXAMPLE: &str = include_str!("../../configs/daemon.toml");

/// Settings stand behind a `#` without a blank.
fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned() + "\n",
        _ => format!("{line}\n"),
    };
    EXAMPLE.lines().map(line).collect()
}

fn check(text: &str) -> Ended {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    fs::write(file.path(), text).unwrap();
    run(&["daemon", "--check", "--config", file.path().to_str().unwrap()])
}

#[test]
fn as_it_is_and_uncommented() {
    let uncommented = uncommented();
    assert!(
        uncommented.contains("\n[rails]\n") && uncommented.contains("\nallow_commands = "),
        "{uncommented}"
    );
    for text in [EXAMPLE, &uncommented] {
        let ended = check(text);
        assert_eq!(Some(0), ended.code, "{ended:?}");
    }
}

/// What stands there is what holds without it, but for lists that are empty then, and for those who are told.
#[test]
fn it_shows_the_defaults() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    fs::write(file.path(), uncommented()).unwrap();
    let mut shown = load_settings(file.path()).unwrap();
    let rails = &mut shown.rails;
    let kinds: BTreeSet<String> = rails.kinds.take().unwrap().into_iter().collect();
    let known = chaos_daemon::fault::KINDS.iter().map(|kind| kind.name().to_owned());
    assert_eq!(known.collect::<BTreeSet<_>>(), kinds);
    assert!(!rails.forbidden_targets.0.is_empty() && !rails.forbidden_peers.is_empty());
    rails.forbidden_targets.0.clear();
    rails.forbidden_peers.clear();
    rails.forbidden_windows.clear();
    assert!(shown.annotate.take().is_some());
    assert_eq!(format!("{:?}", Settings::default()), format!("{shown:?}"));
    // Written as an example, it must not be what a file without it means.
    assert!(load_settings(Path::new("/nowhere.toml")).is_err());
}

/// The code says itself what it knows: to one who has misspelt something.
#[test]
fn every_setting_is_in_it() {
    for (table, title) in [("", "the daemon's settings knows: "), ("[rails]\n", "[rails] knows: ")] {
        let ended = check(&format!("{table}qqqq = 1\n"));
        assert_eq!(Some(2), ended.code, "{ended:?}");
        // A long line is broken, and each part begins with a bar on a terminal's left.
        let said: Vec<&str> = ended.stderr.split_whitespace().filter(|word| *word != "│").collect();
        let said = said.join(" ");
        let known = said.split(title).nth(1).unwrap_or_else(|| panic!("{ended:?}"));
        let known = known.trim_end_matches("nothing was applied");
        let known: Vec<&str> = known.split(", ").map(str::trim).collect();
        assert!(known.len() >= 6, "{known:?}");
        for field in known {
            let is_there =
                |line: &str| line == format!("#[{field}]") || line.starts_with(&format!("#{field} = "));
            assert!(EXAMPLE.lines().any(is_there), "{field} is not in configs/daemon.toml");
        }
    }
}
