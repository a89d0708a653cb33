//! `counter = "injected"`: what the faults have done so far, all of them or the one that `fault` names.

use chaos_common::counters::Counters;

use super::{MeasureError, Measured, Sample, absent};
use crate::config::{Problem, Section, section::closest};

/// Which number, and of which fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Which number.
    pub what: What,
    /// The fault's position in the file and its name; `None`: the sum over all faults.
    pub fault: Option<(usize, String)>,
}

/// A number that is counted for each fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Packets or calls that fitted.
    Matched,
    /// Of these, how many were hit.
    Injected,
    /// Of these, how many were not, for whatever reason.
    Skipped,
}

const WHAT: [(&str, What); 3] =
    [("injected", What::Injected), ("matched", What::Matched), ("skipped", What::Skipped)];

impl Counter {
    /// Reads the source. `faults` are the names of the experiment's faults, in file order.
    pub(super) fn read(section: &mut Section<'_>, faults: &[String]) -> Result<Self, Problem> {
        let Some(written) = section.get::<String>("counter")? else { return Err(absent(section)) };
        let Some((_, what)) = WHAT.iter().find(|(name, _)| name == written.get_ref()) else {
            let message = format!("unknown counter \"{}\"", written.get_ref());
            return Err(Problem::at(written.span(), message, "is not counted")
                .help(format!("write one of: {}", WHAT.map(|(name, _)| name).join(", "))));
        };
        let fault = section.get::<String>("fault")?.map(|name| {
            let position = faults.iter().position(|fault| fault == name.get_ref());
            position.map(|position| (position, name.get_ref().clone())).ok_or_else(|| {
                let names: Vec<&str> = faults.iter().map(String::as_str).collect();
                let help = match closest(name.get_ref(), &names) {
                    Some(close) => format!("did you mean \"{close}\"? There are: {}", names.join(", ")),
                    None => format!("there are: {}", names.join(", ")),
                };
                let message = format!("no fault is called {}", name.get_ref());
                Problem::at(name.span(), message, "no such fault").help(help)
            })
        });
        Ok(Self { what: *what, fault: fault.transpose()? })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let name = WHAT.iter().find(|(_, what)| *what == self.what).map_or("", |(name, _)| name);
        match &self.fault {
            Some((_, fault)) => format!("{name} by {fault}"),
            None => format!("{name} by all faults"),
        }
    }

    pub(super) fn measure(&self, counts: &[Counters]) -> Result<Measured, MeasureError> {
        let number = |counters: &Counters| match self.what {
            What::Matched => counters.matched,
            What::Injected => counters.injected,
            What::Skipped => counters.skipped.iter().sum(),
        };
        let sum: u64 = match &self.fault {
            None => counts.iter().map(number).sum(),
            Some((position, fault)) => counts
                .get(*position)
                .map(number)
                .ok_or_else(|| MeasureError::Failed(format!("nothing was counted for {fault}")))?,
        };
        Ok(Measured::Numbers(vec![Sample { of: self.describe(), value: sum as f64 }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_or_picks_one() {
        let of = |matched, injected| {
            let mut counters = Counters { matched, injected, ..Counters::default() };
            counters.skipped[0] = matched - injected;
            counters
        };
        let counts = [of(10, 4), of(5, 5)];
        let one = Some((1, "b".to_owned()));
        for (what, fault, expected) in [
            (What::Matched, None, 15.0),
            (What::Injected, None, 9.0),
            (What::Skipped, None, 6.0),
            (What::Injected, one.clone(), 5.0),
            (What::Skipped, one, 0.0),
        ] {
            let Ok(Measured::Numbers(found)) = (Counter { what, fault }).measure(&counts) else { panic!() };
            assert!((found[0].value - expected).abs() < f64::EPSILON, "{found:?} {expected}");
        }
        let gone = Counter { what: What::Matched, fault: Some((2, "c".to_owned())) };
        assert!(gone.measure(&counts).is_err());
    }
}
