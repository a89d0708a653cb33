//! The gate itself: which stages run, how a failure is handed on, what is printed at the end.

use std::time::Duration;

use clap::Parser;

use super::{Args, Kind, Outcome, Place, Row, StageResult, left_out, lines, stage};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn parse(line: &str) -> Result<Args, String> {
    let words = std::iter::once("test").chain(line.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.args).map_err(|error| error.to_string())
}

#[test]
fn a_failure_is_noted_and_handed_on() {
    let mut rows = Vec::new();
    stage("one", &mut rows, || Ok(Outcome::Passed)).unwrap();
    stage("two", &mut rows, || Ok(Outcome::Skipped("no network".into()))).unwrap();
    let error = stage("three", &mut rows, || anyhow::bail!("broken")).unwrap_err();
    assert_eq!(format!("{error:#}"), "the stage \"three\" failed: broken");
    let results: Vec<_> = rows.iter().map(Row::said).collect();
    assert_eq!(results, ["passed", "SKIPPED: no network", "FAILED"]);
}

#[test]
fn the_table_lines_up() {
    let row =
        |name, seconds| Row { name, seconds: Duration::from_secs(seconds), result: StageResult::Passed };
    let text = lines(&[row("lints", 3), row("host tests", 120)], Duration::from_secs(123));
    assert_eq!(
        text,
        "stage                        seconds  result\n\
         lints                            3.0  passed\n\
         host tests                     120.0  passed\n\
         total                          123.0"
    );
}

#[test]
fn the_places_can_be_chosen() {
    assert_eq!(parse("").unwrap().places(), Place::all());
    assert_eq!(parse("--quick").unwrap().places(), Place::few());
    let args = parse("--quick --kernels host,6.1").unwrap();
    assert_eq!(args.places(), ["host", "6.1"].map(|place| place.parse::<Place>().unwrap()));
    assert!(parse("--kernels 6.2").is_err_and(|error| error.contains("there is a kernel for")));
}

#[test]
fn a_name_is_handed_on_and_leaves_the_checks_out() {
    assert!(parse("").unwrap().chosen().is_empty());
    assert_eq!(parse("--filter drop").unwrap().chosen(), ["drop"]);
    assert_eq!(parse("-- --exact drop::tcp").unwrap().chosen(), ["--exact", "drop::tcp"]);
    assert!(parse("drop").is_err(), "the suite's arguments come after --");
    assert_eq!(left_out(Kind::Check, false, true), Some("left out (only some tests)"));
    assert_eq!(left_out(Kind::Tests, true, true), None);
    assert_eq!(left_out(Kind::Slow, true, false), Some("left out (--quick)"));
    assert_eq!(left_out(Kind::Check, true, false), None);
}
