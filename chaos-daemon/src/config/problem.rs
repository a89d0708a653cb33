//! What is wrong with an experiment file, and where.

use std::ops::Range;

use miette::{Diagnostic, NamedSource, SourceSpan};
use thiserror::Error;

use crate::printable::printable;

/// A mistake in the text, before it is known which file it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, as one sentence.
    pub message: String,
    /// What to write at the underlined place.
    pub label: String,
    /// What would be right.
    pub help: Option<String>,
    /// The bytes of the text that are wrong.
    pub span: Option<Range<usize>>,
}

impl Problem {
    /// A problem at a place. `label` stands under the underlined text.
    pub fn at(span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), label: label.into(), help: None, span: Some(span) }
    }

    /// Adds what would be right.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Ties the problem to its file. What the file says may be anybody's: it is shown without control characters.
    pub fn in_source(self, origin: &str, text: &str) -> ConfigError {
        let Self { message, label, help, span } = self;
        let span = span.unwrap_or(0..0);
        let (line, column) = line_and_column(text, span.start);
        let lines = |text: String| text.lines().map(printable).collect::<Vec<_>>().join("\n");
        ConfigError {
            message: printable(&message),
            origin: printable(origin),
            line,
            column,
            help: help.map(lines),
            label: printable(&label),
            // A span of no bytes (something is missing at the end) still shows its line.
            at: Some((span.start, span.len()).into()),
            source_code: Some(
                NamedSource::new(printable(origin), without_controls(text)).with_language("TOML"),
            ),
        }
    }
}

/// A mistake in an experiment file: exit code 2, nothing was applied.
#[derive(Debug, Error, Diagnostic)]
#[error("{}{message}", self.whereabouts())]
pub struct ConfigError {
    message: String,
    origin: String,
    line: usize,
    column: usize,
    #[help]
    help: Option<String>,
    label: String,
    #[label("{label}")]
    at: Option<SourceSpan>,
    #[source_code]
    source_code: Option<NamedSource<String>>,
}

impl ConfigError {
    fn whereabouts(&self) -> String {
        let Self { origin, line, column, .. } = self;
        if *line == 0 { format!("{origin}: ") } else { format!("{origin}:{line}:{column}: ") }
    }

    pub(crate) fn unreadable(origin: &str, what: &str, error: &std::io::Error) -> Self {
        Self {
            message: format!("cannot read {what}: {error}"),
            origin: printable(origin),
            line: 0,
            column: 0,
            help: Some("give the path of a TOML file; the examples stand in configs/".to_owned()),
            label: String::new(),
            at: None,
            source_code: None,
        }
    }

    /// Adds a line to what would be right.
    #[must_use]
    pub fn note(mut self: Box<Self>, note: &str) -> Box<Self> {
        self.help = Some(self.help.map_or_else(|| note.to_owned(), |help| format!("{help}\n{note}")));
        self
    }

    /// The mistake without its file; what was shown as unprintable stays so.
    pub fn problem(&self) -> Problem {
        let span = self.at.map(|at| at.offset()..at.offset() + at.len());
        let Self { message, label, help, .. } = self;
        Problem { message: message.clone(), label: label.clone(), help: help.clone(), span }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file, or what stands for it.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Line and column, from 1; both 0 if the file could not be read.
    pub fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }

    /// What would be right.
    pub fn suggestion(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// The text of a file, byte for byte as long as it was: places in it stay the same.
fn without_controls(text: &str) -> String {
    let is_shown = |c: char| matches!(c, '\n' | '\r' | '\t') || !c.is_control();
    text.chars().map(|c| if is_shown(c) { c.to_string() } else { "?".repeat(c.len_utf8()) }).collect()
}

/// Line and column of a byte offset, from 1; columns count characters.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::{Problem, line_and_column};

    #[test]
    fn nothing_in_a_file_reaches_the_terminal_as_a_control_character() {
        let text = "name = \"\u{1b}[2J\u{9b}x\"\n";
        let problem =
            Problem::at(7..15, "no \u{1b}[2J", "\u{7}").help("one\ntwo\u{1b}c").in_source("x.toml", text);
        let mut shown = String::new();
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
        handler.render_report(&mut shown, &problem).unwrap();
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
        assert!(shown.contains("no \\u{1b}[2J") && shown.contains("name = \"?[2J??x\""), "{shown}");
    }

    #[test]
    fn counts_lines_and_characters_from_one() {
        let text = "a = 1\nß = 2\n";
        assert_eq!((1, 1), line_and_column(text, 0));
        assert_eq!((2, 1), line_and_column(text, 6));
        assert_eq!((2, 3), line_and_column(text, 9));
        assert_eq!((3, 1), line_and_column(text, text.len()));
    }
}
