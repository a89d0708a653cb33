//! What the host's owner says: a TOML file, read as experiments are, with the place of every mistake.
//!
//! What must stay true: everything has a default that is safe on a host nobody has thought about, and nothing in an
//! experiment can change any of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use super::rails::Rails;
use crate::{
    annotate::AnnotateSpec,
    config::{
        ConfigError, Problem, Section,
        value::{Count, Span},
    },
    record::store,
};

/// The port that metrics are served on.
const METRICS_PORT: u16 = 9187;

/// How many ended experiments are remembered by default.
const KEPT: u32 = 100;

/// Experiments that are known at a time, waiting ones included: each has a thread.
pub(super) const MOST: u32 = 1000;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The settings of a daemon.
#[derive(Debug)]
pub struct Settings {
    /// The control socket.
    pub socket: PathBuf,
    /// Where metrics are served; `None`: nowhere but at the control socket.
    pub metrics: Option<SocketAddr>,
    /// Who asked for what.
    pub audit_log: PathBuf,
    /// Where records of experiments with probes are kept.
    pub records: PathBuf,
    /// Who is told of experiments that do not say so themselves.
    pub annotate: Option<AnnotateSpec>,
    /// How log lines are written.
    pub log: LogFormat,
    /// How many ended experiments are remembered.
    pub kept: usize,
    /// What experiments may do here.
    pub rails: Rails,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: default_socket(),
            metrics: Some((Ipv4Addr::LOCALHOST, METRICS_PORT).into()),
            audit_log: "/var/log/kchaos/audit.jsonl".into(),
            records: store::DEFAULT.into(),
            annotate: None,
            log: LogFormat::Text,
            kept: KEPT as usize,
            rails: Rails::default(),
        }
    }
}

/// Where the control socket is unless the owner says otherwise.
pub fn default_socket() -> PathBuf {
    Path::new(crate::guard::run_dir::PATH).join("kchaos.sock")
}

/// Reads the file at `path`.
pub fn load(path: &Path) -> Result<Settings, Box<ConfigError>> {
    let name = path.display().to_string();
    let text = crate::config::read(path)
        .map_err(|error| ConfigError::unreadable(&name, "the daemon's settings", &error))?;
    parse(&text).map_err(|problem| Box::new(problem.in_source(&name, &text)))
}

/// Reads the settings in `text`.
pub fn parse(text: &str) -> Result<Settings, Problem> {
    let mut file = Section::titled(text, "the daemon's settings")?;
    let default = Settings::default();
    let settings = Settings {
        socket: path(&mut file, "socket")?.unwrap_or(default.socket),
        metrics: metrics(&mut file, default.metrics)?,
        audit_log: path(&mut file, "audit_log")?.unwrap_or(default.audit_log),
        records: path(&mut file, "records")?.unwrap_or(default.records),
        annotate: AnnotateSpec::read(&mut file)?,
        log: log(&mut file)?,
        kept: count(&mut file, "kept")?.unwrap_or(default.kept),
        rails: Rails::read(&mut file)?,
    };
    file.finish()?;
    Ok(settings)
}

fn path(file: &mut Section<'_>, key: &'static str) -> Result<Option<PathBuf>, Problem> {
    let Some(path) = file.get::<PathBuf>(key)? else { return Ok(None) };
    if path.get_ref().is_absolute() {
        return Ok(Some(path.into_inner()));
    }
    Err(Problem::at(path.span(), format!("`{key}` is no absolute path"), "relative to what?")
        .help(format!("write it from the root: {key} = \"/...\"")))
}

fn metrics(file: &mut Section<'_>, default: Option<SocketAddr>) -> Result<Option<SocketAddr>, Problem> {
    let Some(address) = file.get::<String>("metrics")? else { return Ok(default) };
    if address.get_ref() == "off" {
        return Ok(None);
    }
    address.get_ref().parse().map(Some).map_err(|_| {
        Problem::at(address.span(), format!("\"{}\" is no address", address.get_ref()), "not an address")
            .help("write address and port, \"127.0.0.1:9187\" or \"[::1]:9187\", or \"off\"")
    })
}

fn log(file: &mut Section<'_>) -> Result<LogFormat, Problem> {
    let Some(format) = file.get::<String>("log")? else { return Ok(LogFormat::default()) };
    match format.get_ref().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(Problem::at(format.span(), format!("unknown log format \"{other}\""), "not a format")
            .help("write \"text\" or \"json\"")),
    }
}

/// A number of experiments.
pub(super) fn count(table: &mut Section<'_>, key: &'static str) -> Result<Option<usize>, Problem> {
    let Some(count) = table.get::<Count>(key)? else { return Ok(None) };
    let number = count.get_ref().0;
    if number > MOST {
        return Err(Problem::at(count.span(), format!("`{key}` is at most {MOST}"), "too many")
            .help("each experiment takes a thread and some descriptors"));
    }
    Ok(Some(number as usize))
}

/// A length of time.
pub(super) fn span(table: &mut Section<'_>, key: &'static str) -> Result<Option<Spanned<Duration>>, Problem> {
    let span = table.get::<Span>(key)?;
    Ok(span.map(|span| Spanned::new(span.span(), span.into_inner().0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_safe() {
        let settings = parse("").unwrap();
        assert_eq!(Path::new("/run/kchaos/kchaos.sock"), settings.socket);
        assert!(settings.metrics.unwrap().ip().is_loopback());
        assert!(!settings.rails.allow_protected);
    }

    #[test]
    fn everything_can_be_said() {
        let settings = parse(
            "socket = \"/tmp/k.sock\"\nmetrics = \"off\"\naudit_log = \"/tmp/a\"\nlog = \"json\"\nkept = 5\n\
             [rails]\nkinds = [\"delay\"]\nprobability = \"50%\"\nduration = \"5m\"\nexperiments = 3\n\
             forbidden_targets = [\"/system.slice/postgresql*\"]\nforbidden_peers = [\"10.0.0.0/8\"]\n",
        )
        .unwrap();
        assert_eq!((None, 5, LogFormat::Json), (settings.metrics, settings.kept, settings.log));
        assert_eq!((3, Duration::from_mins(5)), (settings.rails.experiments, settings.rails.duration));
    }

    #[test]
    fn mistakes_are_said_with_their_place() {
        for (text, message) in [
            ("sokcet = \"/x\"", "unknown field `sokcet`"),
            ("socket = \"x\"", "no absolute path"),
            ("metrics = \"9187\"", "\"9187\" is no address"),
            ("log = \"xml\"", "unknown log format"),
            ("kept = 100000", "at most 1000"),
            ("[annotate]", "tells nobody"),
            ("[rails]\nkinds = [\"latency\"]", "unknown kind"),
            ("[rails]\nkinds = []", "empty list"),
            ("[rails]\nduration = \"2h\"", "longer than"),
            ("[rails]\nforbidden_targets = [\"system.slice\"]", "begin with a slash"),
            ("[rails]\nforbidden_peers = [\"db.internal\"]", "network"),
            ("[rails]\nforbidden_windows = [\"sometimes\"]", "window"),
            ("[rails]\nallow_protected = true\nforbidden_peers = [\"10.0.0.1\"]", "contradict"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.message.contains(message), "{text}: {problem:?}");
            assert!(problem.span.is_some() && problem.help.is_some(), "{text}: {problem:?}");
        }
    }
}
