//! Where words go: results to standard output, messages to standard error.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::Failure;

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Sets up messages: warnings and worse, unless `RUST_LOG` asks for more.
pub fn init() {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter("warn"))
        .with_ansi(colour)
        .with_target(false)
        .without_time()
        .with_writer(std::io::stderr)
        .init();
}

/// Sets up the log of a daemon: what happens, and worse, unless `RUST_LOG` asks for more; with the time where nobody else
/// adds it.
pub fn init_log(json: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter("info"))
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr);
    // systemd's journal has the time of every line.
    match (json, std::env::var_os("JOURNAL_STREAM").is_some()) {
        (true, _) => log.json().flatten_event(true).init(),
        (false, true) => log.without_time().init(),
        (false, false) => log.init(),
    }
}

fn filter(otherwise: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(otherwise))
}

/// Writes a result for people.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            // The result of an experiment must not be lost to a full disk.
            eprint!("{text}");
        }
        Failure::Output(error)
    })
}

/// Writes a result for programs, as one JSON document.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut document = serde_json::to_string_pretty(value).context("writing JSON")?;
    document.push('\n');
    text(&document)
}

/// Writes one of several results for programs, in a line of its own.
pub fn line(value: &impl Serialize) -> Result<(), Failure> {
    text(&(serde_json::to_string(value).context("writing JSON")? + "\n"))
}

/// A table with this header; the columns in `right` are aligned to the right, as numbers are.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, right: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        // Wraps cells to the terminal's width; without a terminal, or one that knows its width, nothing is wrapped.
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec())
        .add_rows(rows);
    if table.width() == Some(0) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
