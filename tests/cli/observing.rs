//! configs/prometheus and configs/grafana: right by the tools' own judgement, and about metrics that there are.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const DASHBOARD: &str = include_str!("../../configs/grafana/dashboard.json");
const ALERTS: &str = include_str!("../../configs/prometheus/alerts.yml");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/prometheus")
}

/// Those in docs/METRICS.md, of which a test on the kernel knows that they are those of the code.
fn documented() -> BTreeSet<&'static str> {
    let doc = include_str!("../../docs/METRICS.md");
    let rows = doc.lines().filter_map(|line| line.strip_prefix("| `kchaos_"));
    let names = rows.map(|row| row.split('`').next().unwrap());
    names.collect()
}

/// What begins with `kchaos_` in a text, without that.
fn named(text: &str) -> BTreeSet<&str> {
    let ends = |c: char| !c.is_ascii_lowercase() && c != '_';
    text.split("kchaos_").skip(1).map(|rest| rest.split(ends).next().unwrap()).collect()
}

fn promtool(words: &[&str]) {
    let output = Command::new("promtool").args(words).current_dir(folder()).output();
    let output = output.expect("promtool of the package prometheus: `cargo xtask setup` installs it");
    assert!(output.status.success(), "{words:?}: {output:?}");
}

#[test]
fn promtool_takes_them() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts-test.yml"]);
    promtool(&["check", "config", "scrape.yml"]);
}

/// What Debian's promtool cannot read is the same but for how targets are found.
#[test]
fn both_ways_to_scrape_are_one_job() {
    let job = |text: &str| {
        let file: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!("alerts.yml", file["rule_files"][0]);
        assert_eq!(1, file["scrape_configs"].as_array().unwrap().len());
        file["scrape_configs"][0].clone()
    };
    let hosts = job(include_str!("../../configs/prometheus/scrape.yml"));
    let pods = job(include_str!("../../configs/prometheus/scrape-kubernetes.yml"));
    for field in ["job_name", "scrape_interval"] {
        assert_eq!(hosts[field], pods[field]);
    }
    assert!(ALERTS.contains(&format!("up{{job={}}}", hosts["job_name"])), "an alert knows it");
    assert_eq!("pod", pods["kubernetes_sd_configs"][0]["role"]);
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    let (known, used) = (documented(), named(ALERTS));
    assert!(used.len() >= 8 && used.is_subset(&known), "{used:?} {known:?}");
    let alerts: Value = serde_saphyr::from_str(ALERTS).unwrap();
    let tests = include_str!("../../configs/prometheus/alerts-test.yml");
    let rules =
        alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(tests.contains(name), "nothing tests {name}");
        assert!(rule["annotations"]["summary"].is_string(), "{rule}");
        assert!(
            ["info", "warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()),
            "{rule}"
        );
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let exprs = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let exprs: Vec<&str> = exprs.map(|target| target["expr"].as_str().unwrap()).collect();
    let shown: BTreeSet<&str> = exprs.iter().flat_map(|expr| named(expr)).collect();
    assert_eq!(documented(), shown);
    assert!(named(DASHBOARD).is_subset(&documented()), "in variables and annotations, too");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: BTreeSet<&str> =
        variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(BTreeSet::from(["datasource", "experiment", "instance"]), variables);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(panels.len(), ids.len());
    for panel in panels {
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{}", panel["title"]);
    }
}
