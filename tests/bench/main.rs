//! Benchmarks: `cargo xtask bench [NAME] [--quick]`. Each prints what it measured and the bar it is held to; the exit
//! code is 1 if a bar was missed.

mod delay;
mod matching;
mod nftables;
mod packet;
mod startup;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Args {
    /// Which one
    #[arg(value_enum, default_value_t = Name::All)]
    name: Name,
    /// Fewer runs, for the standard test
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    delay: delay::Arguments,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// From the start of the process to the first injected packet; memory; size of the binary
    Startup,
    /// What a packet costs
    Packet,
    /// What matching costs with ever more rules, and replacing them
    Match,
    /// Delays against netem and noxious
    Delay,
    /// All of them
    All,
}

/// A measured value and its bar.
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    /// The value must stay below; `None` if it is only shown.
    below: Option<f64>,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(delay::act::WORD) {
        delay::act::main();
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    let mut figures = Vec::new();
    let wanted = |name| args.name == Name::All || args.name == name;
    if wanted(Name::Startup) {
        figures.extend(startup::run(args.quick));
    }
    if wanted(Name::Packet) {
        figures.extend(packet::run(args.quick));
    }
    if wanted(Name::Match) {
        figures.extend(matching::run(args.quick));
        figures.extend(nftables::run(args.quick));
    }
    let mut missed = wanted(Name::Delay) && delay::run(&args.delay, args.quick);
    if figures.is_empty() {
        return ExitCode::from(u8::from(missed));
    }
    println!("\n{:<66} {:>12}  bar", "", "measured");
    let slack = if args.quick { SLACK } else { 1.0 };
    for Figure { what, value, unit, below } in figures {
        // Three decimals, as people write them.
        let below = below.map(|limit| (limit * slack * 1000.0).round() / 1000.0);
        let (bar, met) = match below {
            None => (String::new(), true),
            Some(limit) => (
                format!("under {limit} {unit}: {}", if value < limit { "met" } else { "MISSED" }),
                value < limit,
            ),
        };
        println!("{what:<66} {value:>8.2} {unit:<3}  {bar}");
        missed |= !met;
    }
    ExitCode::from(u8::from(missed))
}

/// In the standard test other things may run beside it: what is measured there may miss its bar by so much.
const SLACK: f64 = 1.5;

/// The middle of a list.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
