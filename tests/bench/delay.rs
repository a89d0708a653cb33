//! Delays, everything side by side in one run: in a guest kchaos' line in the kernel against netem, on this machine its
//! line over a TAP device against noxious.
//!
//! Packets carry the time at which they are sent, over a veth pair between two namespaces of one machine, so that there
//! is one clock; the kernel's own stamp says when they came, whenever the receiver runs.

mod accuracy;
pub mod act;
mod bursts;
mod ends;
mod flow;
mod rate;
mod report;
mod rows;
mod spread;
mod throughput;
mod way;

use std::path::PathBuf;

use clap::ValueEnum;

use flow::Pair;
use rows::Rows;
use way::{Asked, Way};

/// What the command line says of it.
#[derive(clap::Args, Clone, Default)]
pub struct Arguments {
    /// Delays: only this
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Delays: what a run in a guest has written, to be shown with this run's
    #[arg(long)]
    guest_rows: Option<PathBuf>,
    /// Delays: write a report to this file
    #[arg(long)]
    markdown: Option<PathBuf>,
}

/// One measurement.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// How exact delays are
    Accuracy,
    /// How they are distributed
    Spread,
    /// Losses in bursts
    Bursts,
    /// TCP
    Throughput,
    /// Packets per second
    Rate,
    /// A kill
    Ends,
}

/// What every measurement must know.
pub struct Options {
    /// Fewer rounds.
    quick: bool,
    /// This is a guest, where netem is.
    guest: bool,
    /// Why this kchaos does not take a delay.
    refusal: Option<String>,
}

impl Options {
    /// Who is compared by packets, kchaos last.
    fn ways(&self) -> Vec<Way> {
        let mut ways = vec![Way::None];
        if self.guest {
            ways.push(Way::Netem);
        }
        if self.refusal.is_none() {
            ways.push(Way::Kchaos);
        }
        ways
    }
}

/// One of the measurements.
type Measure = fn(&Pair, &Options, &mut Rows);

/// Runs it all; says which bars were missed.
pub fn run(args: &Arguments, quick: bool) -> Vec<String> {
    let guest = std::env::var_os("KCHAOS_GUEST").is_some();
    let mut rows = Rows::new(report::place(guest));
    let wanted = |only| args.only.is_none_or(|wanted| wanted == only);
    let pair = Pair::new();
    let refusal = way::refuses(&pair, &Asked::fixed(1).fields());
    if let Some(refusal) = &refusal {
        eprintln!("bench    kchaos does not take delays, the others are measured alone: {refusal}");
    }
    let options = Options { quick, guest, refusal };
    let all: [(Only, Measure); 6] = [
        (Only::Accuracy, accuracy::run),
        (Only::Spread, spread::run),
        (Only::Bursts, bursts::run),
        (Only::Throughput, throughput::run),
        (Only::Rate, rate::run),
        (Only::Ends, ends::run),
    ];
    for (only, measure) in all {
        if wanted(only) {
            let before = rows.list.len();
            measure(&pair, &options, &mut rows);
            // As for all that is measured in the short version: a moment must not decide.
            if quick && rows.list.iter().skip(before).any(|row| !row.met(quick)) {
                eprintln!("bench      once more, as a bar was missed");
                rows.list.truncate(before);
                rows.attempt = 1;
                measure(&pair, &options, &mut rows);
                rows.attempt = 0;
            }
        }
    }
    let mut list = args.guest_rows.as_deref().map(report::read).unwrap_or_default();
    list.append(&mut rows.list);
    print!("{}", report::plain(&list, quick));
    if let Some(share) = report::stolen() {
        println!(
            "\nprocessor time that others took from this machine meanwhile (steal): {:.1} %",
            share * 100.0
        );
    }
    if let Some(file) = &args.markdown {
        std::fs::write(file, report::markdown(&list, quick)).unwrap();
    }
    list.iter().filter(|row| !row.met(quick)).map(|row| report::line(row, quick)).collect()
}
