//! Benchmarks: `cargo xtask bench [NAME] [--quick]`. Each prints what it measured and the bar it is held to; the exit
//! code is 1 if a bar was missed.

mod call;
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
    /// What calls cost while others' fail, in instructions: in a guest that counts them
    Call,
    /// All of them but that
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
    if args.name == Name::Call {
        return ExitCode::from(u8::from(call::run(if args.quick { SLACK } else { 1.0 })));
    }
    let wanted = |name| args.name == Name::All || args.name == name;
    let mut figures = Vec::new();
    for (name, measure) in MEASURES {
        if wanted(name) {
            figures.extend(twice_if_missed(measure, args.quick));
        }
    }
    let mut missed: Vec<String> =
        if wanted(Name::Delay) { delay::run(&args.delay, args.quick) } else { Vec::new() };
    if !figures.is_empty() {
        println!("\n{:<66} {:>12}  bar", "", "measured");
    }
    for figure in figures {
        let line = figure.line(args.quick);
        println!("{line}");
        if !figure.met(args.quick) {
            missed.push(line);
        }
    }
    if !missed.is_empty() {
        println!("\nmissed:\n{}", missed.join("\n"));
    }
    ExitCode::from(u8::from(!missed.is_empty()))
}

/// Measures something, in the short version or not.
type Measure = fn(bool) -> Vec<Figure>;

const MEASURES: [(Name, Measure); 4] = [
    (Name::Startup, startup::run),
    (Name::Packet, packet::run),
    (Name::Match, matching::run),
    (Name::Match, nftables::run),
];

/// In the standard test a moment in which the machine had other things to do must not decide: what misses its bar is
/// measured once more. The full version says what it saw.
fn twice_if_missed(measure: Measure, quick: bool) -> Vec<Figure> {
    let first = measure(quick);
    let missed: Vec<String> =
        first.iter().filter(|figure| !figure.met(quick)).map(|figure| figure.line(quick)).collect();
    if missed.is_empty() || !quick {
        return first;
    }
    eprintln!("bench    once more, as this missed its bar:\n{}", missed.join("\n"));
    measure(quick)
}

impl Figure {
    /// The bar with the slack that the short version has, in three decimals, as people write them.
    fn limit(&self, quick: bool) -> Option<f64> {
        let slack = if quick { SLACK } else { 1.0 };
        self.below.map(|limit| (limit * slack * 1000.0).round() / 1000.0)
    }

    fn met(&self, quick: bool) -> bool {
        self.limit(quick).is_none_or(|limit| self.value < limit)
    }

    fn line(&self, quick: bool) -> String {
        let Self { what, value, unit, .. } = self;
        let met = if self.met(quick) { "met" } else { "MISSED" };
        let bar = self.limit(quick).map_or(String::new(), |limit| format!("under {limit} {unit}: {met}"));
        format!("{what:<66} {value:>8.2} {unit:<3}  {bar}").trim_end().to_owned()
    }
}

/// In the standard test other things may run beside it: what is measured there may miss its bar by so much.
const SLACK: f64 = 1.5;

/// The middle of a list.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
