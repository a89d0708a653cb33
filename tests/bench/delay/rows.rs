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
    /// How often it had been measured before.
    pub attempt: u32,
}

/// By how much a bar may be missed in the short version: other things run beside it.
const SLACK: f64 = 1.5;

/// The same for times and rates in a guest, which is a fraction of a machine and translated: there the short version only
/// sees whether something has broken down.
const GUEST_SLACK: f64 = 8.0;

impl Row {
    fn slack(&self, quick: bool) -> f64 {
        match self.unit.as_str() {
            _ if !quick => 1.0,
            "ms" | "MB/s" | "/s" | "x" if self.place.starts_with("guest") => GUEST_SLACK,
            _ => SLACK,
        }
    }

    /// Whether its bar is met, in the short version with slack; a value that is not there meets none.
    pub fn met(&self, quick: bool) -> bool {
        let slack = self.slack(quick);
        match (self.bar, self.value) {
            (Bar::None, _) => true,
            (_, None) => false,
            (Bar::Below(limit), Some(value)) => value < limit * slack,
            (Bar::AtLeast(limit), Some(value)) => value >= limit / slack,
        }
    }

    /// The value with its unit.
    pub fn value(&self) -> String {
        self.value.map_or("not measured".to_owned(), |value| self.with_unit(value))
    }

    fn with_unit(&self, value: f64) -> String {
        format!("{} {}", number(value), self.unit).trim_end().to_owned()
    }

    /// The bar in words, and whether it is met.
    pub fn verdict(&self, quick: bool) -> String {
        let met = if self.met(quick) { "met" } else { "MISSED" };
        let slack = self.slack(quick);
        match self.bar {
            Bar::None => String::new(),
            Bar::Below(limit) => format!("under {}: {met}", self.with_unit(limit * slack)),
            Bar::AtLeast(limit) => format!("at least {}: {met}", self.with_unit(limit / slack)),
        }
    }
}

/// Four digits or so, and commas between thousands.
fn number(value: f64) -> String {
    if value < 0.0 {
        return format!("-{}", number(-value));
    }
    match value {
        0.0 => "0".to_owned(),
        ..0.001 => format!("{value:.1e}"),
        ..10.0 => format!("{value:.3}"),
        ..999.95 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let (head, rest) = digits.split_at(digits.len() % 3);
            let thousands = rest.as_bytes().chunks(3).map(String::from_utf8_lossy);
            let groups = (!head.is_empty()).then(|| head.into()).into_iter().chain(thousands);
            groups.collect::<Vec<_>>().join(",")
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
    /// How often what is measured now was measured before.
    pub attempt: u32,
}

impl Rows {
    /// For a place; what `KCHAOS_REPORT` names gets a line for each row.
    pub fn new(place: String) -> Self {
        // It may be a serial port, which must not become our terminal.
        let open = |path| File::options().create(true).append(true).custom_flags(libc::O_NOCTTY).open(path);
        let report = env::var_os("KCHAOS_REPORT").map(|path| open(path).expect("the report can be written"));
        Self { place, section: "", report, list: Vec::new(), attempt: 0 }
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
            attempt: self.attempt,
        };
        eprintln!("bench      {}: {} {}", row.what, row.value(), row.verdict(false));
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

#[cfg(test)]
mod tests {
    use super::{Bar, Row, number};

    #[test]
    fn numbers_are_for_people() {
        let shown = [0.0, 0.000_52, 0.017_34, 12.34, 1_621.4, 123_456.0, -1_234_567.0].map(number);
        assert_eq!(["0", "5.2e-4", "0.017", "12.3", "1,621", "123,456", "-1,234,567"], shown[..]);
    }

    #[test]
    fn what_is_not_measured_meets_no_bar() {
        let row = |value: Option<f64>, bar| Row {
            place: String::new(),
            section: String::new(),
            what: String::new(),
            value,
            unit: "ms".into(),
            bar,
            attempt: 0,
        };
        assert!(row(None, Bar::None).met(false));
        assert!(!row(None, Bar::Below(1.0)).met(true));
        assert!(row(Some(1.2), Bar::Below(1.0)).met(true) && !row(Some(1.2), Bar::Below(1.0)).met(false));
        assert!(row(Some(0.7), Bar::AtLeast(1.0)).met(true) && !row(Some(0.7), Bar::AtLeast(1.0)).met(false));
        assert_eq!("under 1.000 ms: MISSED", row(Some(1.0), Bar::Below(1.0)).verdict(false));
    }
}
