//! `kchaos record NAME`: what an experiment of the daemon's did, as the daemon remembers it. `kchaos record list`, `show`
//! and `search`: the records of runs that are kept on this host, whoever ran them.

use std::{io::IsTerminal, path::PathBuf};

use anyhow::Context;
use clap::{
    ValueEnum,
    builder::{PossibleValue, TypedValueParser},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Exit, Failure, Format, connection, output};
use crate::{
    config::value::Span,
    printable::printable,
    record::{
        Finding, Record, junit,
        plain::{count, moment, plain, plain_lines, time_of_day},
        store::{DEFAULT, Found, HTML, MARKDOWN, Shelf, StoreError, VARIABLE, text_of},
        summary, words,
    },
};

/// Arguments of `kchaos record`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// An experiment of the daemon's: its last result, as JSON
    #[arg(value_name = "NAME", required = true)]
    name: Option<String>,
    #[command(flatten)]
    connection: connection::Args,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the records of runs, the newest first
    List(ListArgs),
    /// Show one record
    Show(ShowArgs),
    /// Find records in which all these words occur: in the file that was run, the result, or what people wrote since
    Search(SearchArgs),
}

/// Where records are, and how the result is written.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Place {
    /// The folder of the records
    #[arg(long, value_name = "PATH", env = VARIABLE, default_value = DEFAULT)]
    dir: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// Which of them.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Which {
    /// Only those with this verdict
    #[arg(long, value_parser = finding())]
    verdict: Option<Finding>,
    /// Only those of so long ago or less: 12h, 7d
    #[arg(long, value_name = "DURATION")]
    since: Option<Span>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Its id, or the experiment, whose newest run is meant; the beginning is enough if it fits one experiment only
    #[arg(value_name = "ID|NAME")]
    name: String,
    /// What of it
    #[arg(long, value_enum, default_value_t, value_name = "PART")]
    format: Part,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct SearchArgs {
    /// In whichever case: postgres 5432 OPS-4711
    #[arg(value_name = "WORD", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    place: Place,
}

/// What of a record is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Part {
    /// record.md, with what people have added
    #[default]
    Md,
    /// record.json
    Json,
    /// Where record.html is
    HtmlPath,
    /// The experiment's file as it was run
    File,
    /// A short summary in Markdown, for the page of a CI job
    Summary,
    /// Test results as XML, for a CI system
    Junit,
}

/// The verdicts by their names in record.json.
fn finding() -> impl TypedValueParser<Value = Finding> {
    const ALL: [Finding; 5] =
        [Finding::Held, Finding::Falsified, Finding::Stopped, Finding::Inconclusive, Finding::NotAsked];
    let names = ALL.map(|finding| PossibleValue::new(words::word(finding)));
    clap::builder::PossibleValuesParser::new(names).map(|name| {
        // Only names of the list come here.
        ALL.into_iter().find(|finding| words::word(*finding) == name).unwrap_or_default()
    })
}

impl Args {
    /// How errors are written.
    pub fn format(&self) -> Format {
        match &self.verb {
            None => self.connection.output,
            Some(Verb::List(args)) => args.place.output,
            Some(Verb::Show(args)) => args.place.output,
            Some(Verb::Search(args)) => args.place.output,
        }
    }
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    match (&args.verb, &args.name) {
        (Some(Verb::List(args)), _) => list(args.place.shelf().list()?, &args.which, &args.place)?,
        (Some(Verb::Search(args)), _) => {
            list(args.place.shelf().search(&args.words)?, &args.which, &args.place)?;
        }
        (Some(Verb::Show(args)), _) => show(args)?,
        (None, Some(name)) => {
            let path = format!("{}/record", connection::path(name)?);
            let record: Value = args.connection.ask(async |client| client.get(&path).await)?;
            output::json(&record)?;
        }
        (None, None) => return Err(Failure::Input("name an experiment".to_owned())),
    }
    Ok(Exit::Done)
}

impl Place {
    fn shelf(&self) -> Shelf {
        // A variable that is set to nothing says nothing.
        let unset = self.dir.as_os_str().is_empty();
        Shelf::new(if unset { DEFAULT.into() } else { self.dir.clone() })
    }
}

impl Which {
    fn takes(&self, found: &Found, since: Option<Timestamp>) -> bool {
        let verdict = found.record.as_ref().ok().map(|record| record.verdict.verdict);
        self.verdict.is_none_or(|wanted| verdict == Some(wanted))
            && since.is_none_or(|since| found.time().is_some_and(|time| time >= since))
    }

    /// The moment from which on, or the beginning of time.
    fn from(&self) -> Option<Timestamp> {
        let age = SignedDuration::try_from(self.since?.0).ok();
        Some(age.and_then(|age| Timestamp::now().checked_sub(age).ok()).unwrap_or(Timestamp::MIN))
    }
}

fn list(mut found: Vec<Found>, which: &Which, place: &Place) -> Result<(), Failure> {
    let since = which.from();
    found.retain(|found| which.takes(found, since));
    match place.output {
        Format::Json => output::json(&found.iter().map(document).collect::<Vec<_>>()),
        Format::Text if found.is_empty() => output::text(&format!(
            "no records in {}; the daemon may keep its own elsewhere (`records` in its settings): --dir PATH\n",
            place.dir.display()
        )),
        Format::Text => {
            let header = ["began", "experiment", "verdict", "first broke", "hit", "record"];
            let table = output::table(&header, found.iter().map(row), &[4]);
            output::text(&format!("{table}\n"))
        }
    }
}

fn hit(record: &Record) -> u64 {
    words::faults(record).iter().map(|fault| fault.injected).sum()
}

fn row(found: &Found) -> Vec<String> {
    match &found.record {
        Err(reason) => {
            let time = found.time().map(|time| time_of_day(&time.to_string())).unwrap_or_default();
            let verdict = format!("unreadable: {}", plain(reason));
            vec![time, String::new(), verdict, String::new(), String::new(), plain(&found.id)]
        }
        Ok(record) => {
            let first = words::first_broken(record);
            let at = |probe: &crate::record::Probe| probe.broke_at.map(moment).unwrap_or_default();
            vec![
                time_of_day(words::began(record)),
                plain(&record.experiment),
                words::word(record.verdict.verdict).replace('_', " "),
                first.map(|probe| format!("{}, {}", plain(&probe.name), at(probe))).unwrap_or_default(),
                count(hit(record)),
                plain(&found.id),
            ]
        }
    }
}

fn document(found: &Found) -> Value {
    let path = found.path.to_string_lossy();
    match &found.record {
        Err(reason) => json!({ "id": found.id, "path": path, "unreadable": reason }),
        Ok(record) => json!({
            "id": found.id,
            "path": path,
            "experiment": record.experiment,
            "hypothesis": record.hypothesis,
            "tags": record.tags,
            "verdict": words::word(record.verdict.verdict),
            "reason": record.verdict.reason,
            "began": words::began(record),
            "finished": record.times.finished,
            "injected": hit(record),
            "first_broken": words::first_broken(record).map(|probe| &probe.name),
            "user": record.by.user,
            "host": record.by.host,
        }),
    }
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let kept = args.place.shelf().get(&args.name)?;
    // Programs get what was asked for to the letter; a terminal would obey what somebody has written into a file.
    let to_terminal = std::io::stdout().is_terminal();
    let text = |text: &str| output::text(&if to_terminal { plain_lines(text) } else { text.to_owned() });
    match (args.format, args.place.output) {
        (Part::Json, _) | (Part::Md, Format::Json) => output::json(&kept.record),
        (Part::Md, Format::Text) => {
            let path = kept.path.join(MARKDOWN);
            let edited = text_of(&path)
                .map_err(|error| Failure::Host(format!("{}: {error}", printable(&path.to_string_lossy()))))?;
            text(&edited)
        }
        (Part::Summary, _) => text(&summary::render(&kept.record, Some(&kept.path))),
        (Part::Junit, _) => {
            let xml = junit::render(std::slice::from_ref(&kept.record));
            text(&xml.context("writing the record")?)
        }
        (Part::File, Format::Text) => text(&kept.record.file.text),
        (Part::File, Format::Json) => output::json(&kept.record.file),
        (Part::HtmlPath, Format::Text) => {
            output::text(&format!("{}\n", printable(&kept.path.join(HTML).to_string_lossy())))
        }
        (Part::HtmlPath, Format::Json) => {
            output::json(&json!({ "path": kept.path.join(HTML).to_string_lossy() }))
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Unknown { .. } | StoreError::Ambiguous { .. } => Self::Input(text),
            StoreError::Unusable { .. }
            | StoreError::Write { .. }
            | StoreError::Unreadable { .. }
            | StoreError::Garbage { .. } => Self::Host(text),
        }
    }
}
