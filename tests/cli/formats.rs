//! Output for programs, the examples in configs/, and what help shows.

use std::{fs, io::Read, path::Path, process::Stdio};

use kchaos_tests::{kchaos, kchaos::run};

#[test]
fn errors_as_json() {
    let ended = run(&["inject", "drop", "--for", "5", "--host", "--output", "json"]);
    assert_eq!(Some(2), ended.code, "{ended:?}");
    let error: serde_json::Value = serde_json::from_str(&ended.stderr).unwrap();
    assert_eq!(2, error["error"]["exit_code"]);
    assert_eq!(1, error["error"]["line"]);
    assert!(error["error"]["help"].as_str().unwrap().contains("5s"), "{error}");
}

/// Also where the command line itself is wrong, and where there is nothing but "yes" to say.
#[test]
fn json_is_asked_for_and_given() {
    for words in [
        &["inject", "drop", "--cgroup", "/x", "--output", "json"][..],
        &["run", "--output=json"],
        &["frobnicate", "--output", "json"],
    ] {
        let ended = run(words);
        assert_eq!(Some(2), ended.code, "{ended:?}");
        let error: serde_json::Value =
            serde_json::from_str(&ended.stderr).unwrap_or_else(|_| panic!("{ended:?}"));
        assert!(error["error"].to_string().contains("Usage"), "{error}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "duration = \"1s\"\n[target]\nhost = true\n[[fault]]\nkind = \"drop\"\n";
    fs::write(file.path(), text).unwrap();
    let ended = run(&["run", "--dry-run", "--output", "json", file.path().to_str().unwrap()]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    assert_eq!(serde_json::Value::Bool(true), ended.json()["right"]);
}

#[test]
fn print_writes_a_file_that_dry_run_accepts() {
    let ended = run(&[
        "inject",
        "connect",
        "--for",
        "5s",
        "--host",
        "--errno",
        "EIO",
        "--peer",
        "127.0.0.1:1",
        "--print",
    ]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("printed.toml");
    fs::write(&file, &ended.stdout).unwrap();
    let ended = run(&["run", "--dry-run", file.to_str().unwrap()]);
    assert_eq!(Some(0), ended.code, "{ended:?}");
}

#[test]
fn every_example_is_accepted() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
    let mut seen = 0;
    for entry in fs::read_dir(configs).unwrap().flatten() {
        let path = entry.path();
        // The daemon's settings are no experiment.
        if path.extension().is_none_or(|e| e != "toml") || path.ends_with("daemon.toml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        if let Err(error) = chaos_daemon::config::parse(&name, &text, "example") {
            panic!("{error}");
        }
        seen += 1;
    }
    assert!(seen >= 2, "{seen} examples");
}

/// Files without probes, and the one that shows every probe.
#[test]
fn every_other_example_is_run_by_a_test() {
    let tests = include_str!("../host/examples.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")).unwrap().flatten() {
        let path = entry.path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|e| e != "toml") || name == "daemon" {
            continue;
        }
        let is_scenario = fs::read_to_string(&path).unwrap().lines().any(|line| line == "[[probe]]");
        let is_run = tests.contains(&format!("\"{name}\""));
        assert!(is_run || is_scenario && name != "probe", "nobody runs configs/{name}.toml");
    }
}

/// Files with probes are scenarios, but for the one that shows every probe.
#[test]
fn every_scenario_is_run_by_a_test_and_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files_in = |folder: &str| -> Vec<(String, String)> {
        let paths = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let files = paths.filter(|path| path.is_file());
        files.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
    };
    let tests: String = files_in("tests/host/scenarios").into_iter().map(|(_, text)| text).collect();
    let guide = fs::read_to_string(root.join("docs/GUIDE.md")).unwrap();
    let mut seen = 0;
    for (path, text) in files_in("configs") {
        let name = path.rsplit('/').next().unwrap();
        if name == "probe.toml" || !text.lines().any(|line| line == "[[probe]]") {
            continue;
        }
        assert!(tests.contains(&format!("include_str!(\"../../../configs/{name}\")")), "nobody runs {name}");
        assert!(guide.contains(&format!("(../configs/{name})")), "the guide does not explain {name}");
        seen += 1;
    }
    assert!(seen >= 15, "{seen} scenarios");
}

#[test]
fn every_kind_has_an_example_and_a_section() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let faults = fs::read_to_string(root.join("docs/FAULTS.md")).unwrap();
    for kind in chaos_daemon::fault::KINDS {
        let name = kind.name();
        let example = fs::read_to_string(root.join(format!("configs/{name}.toml"))).unwrap();
        assert!(
            example.lines().any(|l| l == format!("kind = \"{name}\"")),
            "configs/{name}.toml shows no {name}"
        );
        let heading =
            |l: &str| l.starts_with("## ") && l.split(|c: char| !c.is_alphanumeric()).any(|w| w == name);
        assert!(faults.lines().any(heading), "no section on {name}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child =
        kchaos().args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(status.success(), "{status}: {stderr}");
    assert_eq!("", stderr);
}
