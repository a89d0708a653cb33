//! `kchaos record list`, `show` and `search`, on records that were made by hand.

use std::{fs, path::Path, process::Stdio};

use chaos_daemon::record::{File, Finding, Probe, Record, Times, Verdict, store::Store};
use kchaos_tests::{kchaos, kchaos::Ended};
use tempfile::TempDir;

/// A folder with a run that was falsified an hour ago, one that held ten days ago, and garbage.
fn shelf() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let now = jiff::Timestamp::now();
    for (name, finding, hours, text) in [
        ("redis-gone", Finding::Held, 240, "peer = \"redis:6379\"\n"),
        ("slow-postgres", Finding::Falsified, 1, "peer = \"db:5432\" # \u{1b}[2J\n"),
    ] {
        let started = now - jiff::SignedDuration::from_hours(hours);
        let broke_at = (finding == Finding::Falsified).then_some(12.0);
        let mut record = Record {
            version: 1,
            experiment: name.to_owned(),
            hypothesis: Some("checkout goes on".to_owned()),
            verdict: Verdict { verdict: finding, reason: "seen so".to_owned() },
            file: File { text: text.to_owned(), ..File::default() },
            times: Times {
                started: Some(started.to_string()),
                finished: started.to_string(),
                ..Times::default()
            },
            probes: vec![Probe {
                name: "error rate".to_owned(),
                broke_at,
                held: Some(broke_at.is_none()),
                ..Probe::default()
            }],
            ..Record::default()
        };
        store.put(&mut record).unwrap();
    }
    fs::create_dir(dir.path().join("cut-off")).unwrap();
    fs::write(dir.path().join("cut-off/record.json"), "{\"version\": 1, \"id").unwrap();
    dir
}

fn record(dir: &Path, words: &[&str]) -> Ended {
    let mut command = kchaos();
    command.arg("record").args(words).env("KCHAOS_RECORDS", dir).stdin(Stdio::null());
    Ended::new(command.output().unwrap())
}

fn json(dir: &Path, words: &[&str]) -> serde_json::Value {
    let ended = record(dir, &[words, &["--output", "json"]].concat());
    assert_eq!(Some(0), ended.code, "{ended:?}");
    ended.json()
}

fn names(list: &serde_json::Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["experiment"].as_str().unwrap_or("-")).collect()
}

#[test]
fn the_newest_come_first_and_garbage_has_its_reason() {
    let dir = shelf();
    let ended = record(dir.path(), &["list"]);
    assert_eq!((Some(0), ""), (ended.code, &*ended.stderr), "{ended:?}");
    let at = |what: &str| ended.stdout.find(what).unwrap_or_else(|| panic!("no {what} in {}", ended.stdout));
    assert!(at("slow-postgres") < at("redis-gone") && at("redis-gone") < at("cut-off"));
    assert!(
        ended.stdout.contains("error rate, +12 s") && ended.stdout.contains("unreadable: record.json"),
        "{ended:?}"
    );
    let list = json(dir.path(), &["list"]);
    assert_eq!(["slow-postgres", "redis-gone", "-"], names(&list)[..]);
    assert!(list[2]["unreadable"].as_str().unwrap().contains("no record"), "{list}");
    assert_eq!(["slow-postgres"], names(&json(dir.path(), &["list", "--verdict", "falsified"]))[..]);
    assert_eq!(["slow-postgres"], names(&json(dir.path(), &["list", "--since", "7d"]))[..]);
    assert_eq!(["slow-postgres", "redis-gone"], names(&json(dir.path(), &["list", "--since", "400d"]))[..]);
    let empty = tempfile::tempdir().unwrap();
    assert!(record(empty.path(), &["list"]).stdout.starts_with("no records in "));
    let other = record(empty.path(), &["list", "--dir", dir.path().to_str().unwrap()]);
    assert!(other.stdout.contains("slow-postgres"), "--dir goes before the environment: {other:?}");
}

#[test]
fn one_is_shown_in_every_form() {
    let dir = shelf();
    let shown = record(dir.path(), &["show", "slow"]);
    assert!(shown.stdout.contains("# Chaos Experiment Record: slow-postgres"), "{shown:?}");
    assert!(shown.stdout.contains("**Result:** FAILED HYPOTHESIS"), "{shown:?}");
    let document = record(dir.path(), &["show", "slow-postgres", "--format", "json"]).json();
    assert_eq!(document, json(dir.path(), &["show", "slow-postgres"]));
    let id = document["id"].as_str().unwrap();
    let page = record(dir.path(), &["show", id, "--format", "html-path"]).stdout;
    assert_eq!(dir.path().join(id).join("record.html"), Path::new(page.trim()));
    assert!(fs::read_to_string(page.trim()).unwrap().starts_with("<!DOCTYPE html>"));
    // To the letter, for whoever runs it again.
    assert_eq!(
        "peer = \"db:5432\" # \u{1b}[2J\n",
        record(dir.path(), &["show", id, "--format", "file"]).stdout
    );
    let xml = record(dir.path(), &["show", id, "--format", "junit"]).stdout;
    assert!(xml.starts_with("<?xml") && xml.contains("failures=\"2\""), "{xml}");
    let summary = record(dir.path(), &["show", id, "--format", "summary"]).stdout;
    assert!(summary.contains("FAILED HYPOTHESIS") && summary.contains(id), "{summary}");
    for (name, code) in [("nothing", 2), ("cut-off", 4)] {
        let ended = record(dir.path(), &["show", name]);
        assert_eq!((Some(code), ""), (ended.code, &*ended.stdout), "{ended:?}");
        assert!(ended.stderr.contains(name), "{ended:?}");
    }
}

#[test]
fn words_are_searched_in_all_of_it_and_in_what_people_wrote() {
    let dir = shelf();
    assert_eq!(["slow-postgres"], names(&json(dir.path(), &["search", "5432", "CHECKOUT"]))[..]);
    assert_eq!(["slow-postgres", "redis-gone"], names(&json(dir.path(), &["search", "error rate"]))[..]);
    assert_eq!(["redis-gone"], names(&json(dir.path(), &["search", "checkout", "--verdict", "held"]))[..]);
    assert_eq!(0, names(&json(dir.path(), &["search", "OPS-4711"])).len());
    let page = record(dir.path(), &["show", "redis", "--format", "html-path"]).stdout;
    let markdown = Path::new(page.trim()).with_file_name("record.md");
    let text = fs::read_to_string(&markdown).unwrap() + "\n- [ ] ops-4711 - fall back - Bob\n";
    fs::write(&markdown, text).unwrap();
    assert_eq!(["redis-gone"], names(&json(dir.path(), &["search", "OPS-4711", "redis"]))[..]);
    assert!(record(dir.path(), &["show", "redis"]).stdout.contains("ops-4711"));
    assert!(record(dir.path(), &["search", "elephant"]).stdout.starts_with("no records in "));
}

#[test]
fn the_daemon_is_asked_as_before_and_mistakes_are_named() {
    let dir = shelf();
    let socket = dir.path().join("none.sock");
    let asked = record(dir.path(), &["slow-postgres", "--socket", socket.to_str().unwrap()]);
    assert_eq!(Some(4), asked.code, "{asked:?}");
    assert!(asked.stderr.contains("kchaos daemon"), "{asked:?}");
    for wrong in [&[][..], &["search"], &["show"], &["list", "--verdict", "good"], &["list", "--since", "7"]]
    {
        let ended = record(dir.path(), wrong);
        assert_eq!(Some(2), ended.code, "{wrong:?}: {ended:?}");
    }
}
