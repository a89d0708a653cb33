//! `kchaos demo`: the tour. A small service and its client, each in a cgroup of its own, in a network namespace of their
//! own; a baseline, then each kind of fault that this kernel can do, and a table.
//!
//! Nothing of the host is touched: no device but the namespace's own loopback, no process but these two.

mod load;
mod scene;
mod service;

use anyhow::Context;
use tokio::runtime::Runtime;

pub use load::{LoadArgs, load};
use scene::{Row, Stage};
pub use service::{ServeArgs, serve};

use super::{Exit, Failure, Format, foreground::Signals, output, sandbox};
use crate::{guard::capabilities, target::Hierarchy};

/// Arguments of `kchaos demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long each row runs, in seconds
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// How the result is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Runs it.
pub fn main(args: &Args) -> Result<Exit, Failure> {
    capabilities::check()?;
    let runtime = sandbox::enter()?;
    let Some(rows) = tour(&runtime, args.seconds)? else { return Ok(Exit::Stopped) };
    match args.output {
        Format::Json => output::json(&rows)?,
        Format::Text => output::text(&as_text(&rows))?,
    }
    Ok(Exit::Done)
}

/// `None`: somebody stopped it.
fn tour(runtime: &Runtime, seconds: u64) -> Result<Option<Vec<Row>>, Failure> {
    let hierarchy = Hierarchy::find()?;
    let _guard = runtime.enter();
    let stage = Stage::build(&hierarchy)?;
    let mut service = std::pin::pin!(stage.keep_service());
    let mut signals = Signals::install().context("installing signal handlers")?;
    let mut rows = Vec::new();
    for (number, scene) in scene::all().into_iter().enumerate() {
        eprintln!("kchaos: {} of {}: {}", number + 1, scene::all().len(), scene.title());
        let row = runtime.block_on(async {
            tokio::select! {
                row = stage.play(&scene, seconds) => row.map(Some),
                ended = &mut service => Err(ended),
                by = signals.next() => {
                    eprintln!("kchaos: stopped by {by}; nothing is left");
                    Ok(None)
                }
            }
        })?;
        match row {
            Some(row) => rows.push(row),
            None => return Ok(None),
        }
    }
    Ok(Some(rows))
}

fn as_text(rows: &[Row]) -> String {
    let header = ["", "requests", "errors", "p50", "p99", "injected by the kernel", "what to see"];
    let table = output::table(&header, rows.iter().map(Row::cells), &[1, 3, 4]);
    format!(
        "\nOne client, one service, nothing else on this host was touched:\n{table}\n\
         Every fault was off within its time box; the kernel would have ended it had kchaos been killed.\n\
         Next: write what you expect into a file (configs/ has one per fault) and `kchaos run` it.\n"
    )
}
