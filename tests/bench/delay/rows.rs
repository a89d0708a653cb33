//! What was measured, and the bars it is held to.

use std::{env, fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use serde::{Deserialize, Serialize};

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Bar {
    /// It is only shown.
    None,
    /// Less than this.
    Below(f64),
    /// This or more.
    AtLeast(f64),
}

/// A measured value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The kernel it was measured on, and where that runs.
    pub place: String,
    /// The measurement.
    pub section: String,
    /// What exactly.
    pub what: String,
    /// The value; none if it could not be measured.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// Its bar.
    pub bar: Bar,
}

impl Row {
    /// Whether its bar is met, where that lets so much pass; a value that is not there meets none.
    pub fn met(&self, slack: f64) -> bool {
        match (self.bar, self.value) {
            (Bar::None, _) => true,
            (_, None) => false,
            (Bar::Below(limit), Some(value)) => value < limit * slack,
            (Bar::AtLeast(limit), Some(value)) => value >= limit / slack,
        }
    }

    /// The value with its unit.
    pub fn value(&self) -> String {
        self.value.map_or("not measured".to_owned(), |value| format!("{} {}", number(value), self.unit))
    }

    /// The bar in words, and whether it is met.
    pub fn verdict(&self, slack: f64) -> String {
        let met = if self.met(slack) { "met" } else { "MISSED" };
        match self.bar {
            Bar::None => String::new(),
            Bar::Below(limit) => format!("under {} {}: {met}", number(limit * slack), self.unit),
            Bar::AtLeast(limit) => format!("at least {} {}: {met}", number(limit / slack), self.unit),
        }
    }
}

/// Three digits where there are so many, and commas between thousands.
fn number(value: f64) -> String {
    match value.abs() {
        ..0.001 if value.abs() > 0.0 => format!("{value:.1e}"),
        ..10.0 => format!("{value:.3}"),
        ..1000.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let head = digits.len() % 3;
            let mut text = digits[..head].to_owned();
            for start in (head..digits.len()).step_by(3) {
                if !text.is_empty() {
                    text.push(',');
                }
                text += &digits[start..start + 3];
            }
            text
        }
    }
}

/// Collects rows, and writes each where it can be found if the machine dies.
pub struct Rows {
    place: String,
    section: &'static str,
    report: Option<File>,
    /// All so far.
    pub list: Vec<Row>,
}

impl Rows {
    /// For a place; what `KCHAOS_REPORT` names gets a line for each row.
    pub fn new(place: String) -> Self {
        // It may be a serial port, which must not become our terminal.
        let open = |path| File::options().create(true).append(true).custom_flags(libc::O_NOCTTY).open(path);
        let report = env::var_os("KCHAOS_REPORT").map(|path| open(path).expect("the report can be written"));
        Self { place, section: "", report, list: Vec::new() }
    }

    /// The measurement that what follows belongs to.
    pub fn section(&mut self, section: &'static str) {
        eprintln!("bench    {}: {section}", self.place);
        self.section = section;
    }

    /// Adds a value.
    pub fn add(&mut self, what: impl Into<String>, value: impl Into<Option<f64>>, unit: &str, bar: Bar) {
        let row = Row {
            place: self.place.clone(),
            section: self.section.to_owned(),
            what: what.into(),
            value: value.into(),
            unit: unit.to_owned(),
            bar,
        };
        eprintln!("bench      {}: {} {}", row.what, row.value(), row.verdict(1.0));
        if let Some(file) = &mut self.report {
            let line = serde_json::to_string(&row).unwrap() + "\n";
            file.write_all(line.as_bytes()).expect("the report can be written");
        }
        self.list.push(row);
    }

    /// Adds a value that is only shown.
    pub fn show(&mut self, what: impl Into<String>, value: impl Into<Option<f64>>, unit: &str) {
        self.add(what, value, unit, Bar::None);
    }
}
