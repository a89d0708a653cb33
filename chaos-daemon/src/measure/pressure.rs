//! `pressure = { resource, kind, window, cgroup }`: the share of the time in which tasks waited for the processor, for
//! memory or for the disk, as the kernel averages it (PSI, pressure stall information).

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use toml::Spanned;

use super::{MeasureError, Measured, Sample, absent};
use crate::{
    config::{Problem, Section},
    target::Hierarchy,
};

/// Which pressure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// `cpu`, `memory` or `io`.
    pub resource: &'static str,
    /// `some`: at least one task waited; `full`: all of them did.
    pub kind: &'static str,
    /// Seconds over which the kernel averages: 10, 60 or 300.
    pub window: u16,
    /// The cgroup whose tasks; `None`: those of the whole host.
    pub cgroup: Option<String>,
}

const RESOURCES: [(&str, &str); 3] = [("cpu", "cpu"), ("memory", "memory"), ("io", "io")];
const KINDS: [(&str, &str); 2] = [("some", "some"), ("full", "full")];
const WINDOWS: [(&str, u16); 3] = [("10s", 10), ("60s", 60), ("300s", 300)];

/// One of a few words.
fn choice<T: Copy>(word: &Spanned<String>, field: &str, choices: &[(&str, T)]) -> Result<T, Problem> {
    choices.iter().find(|(name, _)| name == word.get_ref()).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        Problem::at(word.span(), format!("`{field}` cannot be \"{}\"", word.get_ref()), "unknown")
            .help(format!("write one of: {}", names.join(", ")))
    })
}

impl Pressure {
    /// Reads the source.
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Problem> {
        let Some(mut table) = section.table("pressure")? else { return Err(absent(section)) };
        let resource = choice(&table.need("resource", "\"cpu\"")?, "resource", &RESOURCES)?;
        let kind = table.get("kind")?.map(|word| choice(&word, "kind", &KINDS)).transpose()?;
        let window = table.get("window")?.map(|word| choice(&word, "window", &WINDOWS)).transpose()?;
        let cgroup = table.get::<String>("cgroup")?;
        if let Some(bad) = cgroup.as_ref().filter(|cgroup| !names_one(cgroup.get_ref())) {
            return Err(Problem::at(bad.span(), "`cgroup` must name one cgroup", "names none")
                .help("write its path: cgroup = \"/system.slice/checkout.service\""));
        }
        table.finish()?;
        Ok(Self {
            resource,
            kind: kind.unwrap_or("some"),
            window: window.unwrap_or(10),
            cgroup: cgroup.map(Spanned::into_inner),
        })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let Self { resource, kind, window, cgroup } = self;
        let of = cgroup.as_deref().unwrap_or("the host");
        format!("{resource} pressure of {of} ({kind}, {window} s)")
    }

    pub(super) fn measure(&self) -> Result<Measured, MeasureError> {
        let path = self.path()?;
        let text = fs::read_to_string(&path).map_err(|error| self.unread(&path, &error))?;
        let share = average(&text, self.kind, self.window).ok_or_else(|| {
            MeasureError::Unsupported(format!(
                "this kernel does not say in {} for how long {} tasks waited",
                path.display(),
                if self.kind == "full" { "all" } else { "some" }
            ))
        })?;
        Ok(Measured::Numbers(vec![Sample { of: self.describe(), value: share }]))
    }

    /// Why a file of pressure cannot be read. A kernel that has pressure and was booted without it has the files, too.
    fn unread(&self, path: &Path, error: &io::Error) -> MeasureError {
        match (&self.cgroup, error.raw_os_error()) {
            (Some(cgroup), Some(libc::ENOENT)) if !path.parent().is_some_and(Path::exists) => {
                MeasureError::Failed(format!("there is no cgroup {cgroup}"))
            }
            (_, Some(libc::EOPNOTSUPP | libc::ENOENT)) => MeasureError::Unsupported(format!(
                "this kernel does not measure pressure ({}: {error}): it takes CONFIG_PSI, and psi=1 on its command \
                 line where it is off by default",
                path.display()
            )),
            _ => MeasureError::Failed(format!("{}: {error}", path.display())),
        }
    }

    fn path(&self) -> Result<PathBuf, MeasureError> {
        let Some(cgroup) = &self.cgroup else {
            return Ok(PathBuf::from("/proc/pressure").join(self.resource));
        };
        let hierarchy = Hierarchy::find().map_err(|error| MeasureError::Unsupported(error.to_string()))?;
        let below = cgroup.strip_prefix(&*hierarchy.mount().to_string_lossy()).unwrap_or(cgroup);
        let directory = hierarchy.mount().join(below.trim_start_matches('/'));
        Ok(directory.join(format!("{}.pressure", self.resource)))
    }
}

/// A path below the root that stays below it, and no pattern.
fn names_one(cgroup: &str) -> bool {
    let parts = || cgroup.split('/').filter(|part| !part.is_empty());
    cgroup.starts_with('/')
        && parts().next().is_some()
        && parts().all(|part| part != "..")
        && !cgroup.contains('*')
}

/// `some avg10=1.23 avg60=...`: 0.0123. `None` if there is no such line or number.
fn average(text: &str, kind: &str, window: u16) -> Option<f64> {
    let field = format!("avg{window}=");
    let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
    let number = line.split(' ').find_map(|word| word.strip_prefix(&field))?;
    f64::from_str(number).ok().filter(|percent| percent.is_finite()).map(|percent| percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_average_that_is_asked_for() {
        let text = "some avg10=1.50 avg60=0.98 avg300=8.22 total=3891887825\n\
                    full avg10=0.25 avg60=100.00 avg300=0.00 total=0\n";
        for (kind, window, expected) in
            [("some", 10, 0.015), ("some", 300, 0.0822), ("full", 10, 0.0025), ("full", 60, 1.0)]
        {
            let found = average(text, kind, window).unwrap();
            assert!((found - expected).abs() < 1e-12, "{kind} {window}: {found}");
        }
        assert_eq!(None, average("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", "full", 10));
        for broken in ["", "some", "some ", "some avg10", "some avg10=", "some avg10=x", "some avg10=nan"] {
            assert_eq!(None, average(broken, "some", 10), "{broken}");
        }
    }

    #[test]
    fn a_cgroup_is_a_path_below_the_root() {
        for good in ["/a", "/system.slice/x.service"] {
            assert!(names_one(good), "{good}");
        }
        for bad in ["", "/", "//", "a", "/a/../b", "/a/*"] {
            assert!(!names_one(bad), "{bad}");
        }
    }
}
