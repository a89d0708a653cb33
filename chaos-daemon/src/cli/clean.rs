//! `kchaos clean`: removes what a killed kchaos could not remove itself.

use std::path::PathBuf;

use serde_json::json;

use super::{Exit, Failure, Format, output};
use crate::{
    bpf::{BpfError, Cleaner, Lease, RemovedFilter},
    guard::{capabilities, loopback},
    target::{self, Hierarchy, Leftovers, NetNs, remove_leftovers},
};

/// Arguments of `kchaos clean`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    // Without it, leftovers could not be told from what is in use, and "nothing was left behind" would be a lie.
    capabilities::check_clean()?;
    let hierarchy = Hierarchy::find()?;
    // First, as a network namespace may be found only by the processes that are ended with their cgroup.
    let namespaces = target::all_namespaces();
    let (filters, failed) = filters(&namespaces);
    let (settings, unset) = loopback::clean(&namespaces);
    drop(namespaces);
    let Leftovers { removed, stuck } = remove_leftovers(&hierarchy);
    let names =
        |paths: &[PathBuf]| -> Vec<String> { paths.iter().map(|p| p.display().to_string()).collect() };
    let mut removed = names(&removed);
    removed.extend(filters.iter().map(ToString::to_string));
    removed.extend(settings.iter().map(ToString::to_string));
    let mut stuck = names(&stuck);
    stuck.extend(failed.iter().map(ToString::to_string));
    stuck.extend(unset.iter().map(ToString::to_string));
    match args.output {
        Format::Json => output::json(&json!({ "removed": removed, "stuck": stuck }))?,
        Format::Text if removed.is_empty() && stuck.is_empty() => output::text("nothing was left behind\n")?,
        Format::Text => {
            output::text(&removed.iter().map(|p| format!("removed {p}\n")).collect::<Vec<_>>().concat())?;
        }
    }
    if stuck.is_empty() {
        Ok(Exit::Done)
    } else {
        Err(Failure::Host(format!("could not remove {}", stuck.join(", "))))
    }
}

/// In every network namespace that can be found.
fn filters(namespaces: &[NetNs]) -> (Vec<RemovedFilter>, Vec<BpfError>) {
    let mut cleaner = Cleaner::new(Lease::AwaitEnd);
    let (mut removed, mut failed) = (Vec::new(), Vec::new());
    for namespace in namespaces {
        let (more, wrong) = cleaner.clean(namespace);
        removed.extend(more);
        failed.extend(wrong);
    }
    (removed, failed)
}
