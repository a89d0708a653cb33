//! One TOML table, read field by field.
//!
//! serde's own `deny_unknown_fields` cannot serve here: a fault's fields depend on its `kind`, and serde loses the
//! places of everything it has to buffer to find that out. So a [`Section`] keeps the parsed table with its places,
//! hands out fields by name, and at [`Section::finish`] refuses what nobody asked for.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::Problem;

/// A table of the file that is being read.
pub struct Section<'i> {
    title: String,
    span: Range<usize>,
    table: DeTable<'i>,
    asked: Vec<&'static str>,
}

impl<'i> Section<'i> {
    /// A whole experiment file.
    pub fn file(text: &'i str) -> Result<Self, Problem> {
        Self::titled(text, "the experiment")
    }

    /// A whole file; `title` is what errors call it.
    pub fn titled(text: &'i str, title: &str) -> Result<Self, Problem> {
        let table = DeTable::parse(text).map_err(|e| toml_problem(&e, 0..0))?;
        Ok(Self { title: title.to_owned(), span: 0..0, table: table.into_inner(), asked: Vec::new() })
    }

    fn new(title: String, value: Spanned<DeValue<'i>>) -> Result<Self, Problem> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(Self { title, span, table, asked: Vec::new() }),
            other => Err(Problem::at(
                span,
                format!("{title} must be a table, not {}", article(other.type_str())),
                "not a table",
            )
            .help(format!("write it as {title} on a line of its own, its fields below"))),
        }
    }

    /// The place of the table (its header).
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What errors call the table.
    pub fn title(&self) -> &str {
        &self.title
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table.remove(key)
    }

    /// The field `key`, if it is there.
    pub fn get<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<Spanned<T>>, Problem> {
        self.take(key).map(|value| read(key, value)).transpose()
    }

    /// The field `key`, if it is there, and left there for who asks for it afterwards.
    pub fn look_at<T: DeserializeOwned>(&self, key: &'static str) -> Result<Option<Spanned<T>>, Problem> {
        self.table.get(key).map(|value| read(key, value.clone())).transpose()
    }

    /// The field `key`; `example` is what a missing one should look like.
    pub fn need<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        example: &str,
    ) -> Result<Spanned<T>, Problem> {
        match self.get(key)? {
            Some(value) => Ok(value),
            None if let Some(misspelt) = self.misspelt(key) => Err(misspelt),
            None => Err(Problem::at(
                self.span(),
                format!("{} has no `{key}`", self.title),
                format!("`{key}` is missing"),
            )
            .help(format!("add a line: {key} = {example}"))),
        }
    }

    /// A field that is most likely `key`, misspelt.
    pub fn misspelt(&self, key: &'static str) -> Option<Problem> {
        let (written, _) =
            self.table.iter().find(|(written, _)| closest(written.get_ref(), &[key]).is_some())?;
        let name = written.get_ref();
        Some(
            Problem::at(written.span(), format!("unknown field `{name}` in {}", self.title), "no such field")
                .help(format!("did you mean `{key}`?")),
        )
    }

    /// Where the field `key` is, if it is there.
    pub fn place_of(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).map(Spanned::span)
    }

    /// Whether the field `key` is there and is, or has in it, a text that begins so.
    pub fn has_text_with(&self, key: &str, beginning: &str) -> bool {
        let begins = |value: &DeValue<'_>| value.as_str().is_some_and(|text| text.starts_with(beginning));
        self.table.get(key).is_some_and(|value| match value.get_ref() {
            DeValue::Array(items) => items.iter().any(|item| begins(item.get_ref())),
            single => begins(single),
        })
    }

    /// Whether the field `key` is there and is a list.
    pub fn is_list(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// Refuses a table in which the field `key` is not there, or an empty list: with `problem`, unless it is misspelt.
    pub fn refuse_without(&self, key: &'static str, problem: Problem) -> Result<(), Problem> {
        match self.table.get(key) {
            None => Err(self.misspelt(key).unwrap_or(problem)),
            Some(value) if matches!(value.get_ref(), DeValue::Array(items) if items.is_empty()) => {
                Err(problem)
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether the field `key` is there and is a table.
    pub fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// The field `key` as a list; a single value is a list of one. A list that is there must not be empty.
    pub fn list<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Vec<Spanned<T>>>, Problem> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let span = value.span();
        let items = match value.into_inner() {
            DeValue::Array(items) => items.into_iter().collect(),
            single => vec![Spanned::new(span.clone(), single)],
        };
        if items.is_empty() {
            return Err(Problem::at(span, format!("`{key}` is an empty list"), "nothing is named here")
                .help(format!("name at least one, or leave `{key}` out for no such condition")));
        }
        items.into_iter().map(|item| read(key, item)).collect::<Result<_, _>>().map(Some)
    }

    /// The table `[key]`, if it is there.
    pub fn table(&mut self, key: &'static str) -> Result<Option<Self>, Problem> {
        self.take(key).map(|value| Self::new(format!("[{key}]"), value)).transpose()
    }

    /// The tables `[[key]]`, in file order.
    pub fn tables(&mut self, key: &'static str) -> Result<Vec<Self>, Problem> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let span = value.span();
        match value.into_inner() {
            DeValue::Array(items) => {
                items.into_iter().map(|item| Self::new(format!("[[{key}]]"), item)).collect()
            }
            _ => Err(Problem::at(
                span,
                format!("`{key}` must be written as [[{key}]], once for each"),
                "one pair of brackets, or a plain value",
            )
            .help(format!("write [[{key}]]"))),
        }
    }

    /// Refuses every field that nobody has asked for.
    pub fn finish(self) -> Result<(), Problem> {
        let Some((key, _)) = self.table.iter().next() else { return Ok(()) };
        let name = key.get_ref().to_string();
        let known = self.asked.join(", ");
        let help = match closest(&name, &self.asked) {
            Some(close) => format!("did you mean `{close}`? {} knows: {known}", self.title),
            None => format!("{} knows: {known}", self.title),
        };
        Err(Problem::at(
            key.span(),
            format!("unknown field `{name}` in {}", self.title),
            "this version has no such field here",
        )
        .help(help))
    }
}

/// The candidate that `word` is most likely a typing mistake of.
pub fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    const CLOSE_ENOUGH: f64 = 0.75;
    candidates
        .iter()
        .map(|c| (strsim::jaro_winkler(&word.to_lowercase(), &c.to_lowercase()), *c))
        .filter(|(score, _)| *score >= CLOSE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}

fn read<T: DeserializeOwned>(key: &str, value: Spanned<DeValue<'_>>) -> Result<Spanned<T>, Problem> {
    let span = value.span();
    T::deserialize(ValueDeserializer::from(value)).map(|v| Spanned::new(span.clone(), v)).map_err(|e| {
        let mut problem = toml_problem(&e, span);
        problem.message = format!("`{key}`: {}", problem.message);
        problem
    })
}

/// Values put what would be right behind this mark in their error text; serde's errors are one string.
pub const HELP_MARK: &str = "\u{1}help: ";

fn toml_problem(error: &toml::de::Error, fallback: Range<usize>) -> Problem {
    let (message, help) = match error.message().split_once(HELP_MARK) {
        Some((message, help)) => (message, Some(help.to_owned())),
        None => (error.message(), None),
    };
    let mut problem = Problem::at(error.span().unwrap_or(fallback), message.trim_end(), "here");
    problem.help = help;
    problem
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}
