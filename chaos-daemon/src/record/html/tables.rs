//! The numbers below the plots, for those who want them exactly or cannot see the plots.

use maud::{Markup, html};

use crate::record::{
    Probe, Record, Sample, State,
    plain::{count, measured, moment, plain, seconds, shortened},
    words,
};

/// So many single looks are listed in all; record.json has every one.
const LOOKS: usize = 400;

/// A note on a look is cut after so many characters.
const NOTE: usize = 200;

/// All tables.
pub fn all(record: &Record) -> Markup {
    html! {
        @if !record.probes.is_empty() { h2 { "Probes" } (probes(&record.probes)) (looks(record)) }
        @let faults = words::faults(record);
        @if !faults.is_empty() { h2 { "Faults" } (these(&faults)) }
        @if !record.stops.is_empty() { h2 { "Stop conditions" } (stops(record)) }
    }
}

fn probes(probes: &[Probe]) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr {
                th scope="col" { "probe" } th scope="col" { "" } th scope="col" { "expected" }
                th.n scope="col" { "before" } th.n scope="col" { "at worst" } th.n scope="col" { "first broke" }
                th.n scope="col" { "for" } th.n scope="col" { "back" } th.n scope="col" { "looks" }
            } }
            tbody { @for probe in probes { tr {
                th scope="row" { bdi { (plain(&probe.name)) } }
                td data-name="hypothesis" { (words::held(probe)) }
                td data-name="expected" { bdi { (words::expected(probe)) } }
                td.n data-name="before" { (words::before(probe)) }
                td.n data-name="at worst" { (words::worst(probe)) }
                td.n data-name="first broke" { (words::broke(probe)) }
                td.n data-name="for" { (if probe.broke_at.is_some() { seconds(probe.broken_seconds) } else { "-".to_owned() }) }
                td.n data-name="back" { (words::recovered(probe)) }
                td.n data-name="looks" { (probe.samples.len()) }
            } } }
        } }
    }
}

/// Single looks that were not as expected, of all probes the same number at most.
fn looks(record: &Record) -> Markup {
    let each = LOOKS / record.probes.len().max(1);
    let bad = |probe: &Probe| probe.samples.iter().filter(|sample| sample.state != State::Well).count();
    let all: usize = record.probes.iter().map(bad).sum();
    let shown: usize = record.probes.iter().map(|probe| bad(probe).min(each)).sum();
    html! {
        @if all > 0 { details {
            summary {
                (all) " looks were not as expected, or said nothing"
                @if shown < all { "; the first " (shown) " of them" }
            }
            div.scroll { table.rows {
                thead { tr {
                    th scope="col" { "probe" } th.n scope="col" { "when" } th.n scope="col" { "value" }
                    th scope="col" { "" } th scope="col" { "what was wrong" }
                } }
                tbody { @for probe in &record.probes {
                    @for sample in probe.samples.iter().filter(|s| s.state != State::Well).take(each) {
                        (look(probe, sample))
                    }
                } }
            } }
        } }
    }
}

fn look(probe: &Probe, sample: &Sample) -> Markup {
    let state = if sample.state == State::Broken { "broken" } else { "unknown" };
    let value = sample.value.map_or_else(|| "-".to_owned(), |value| measured(value, &probe.unit));
    let note = sample.note.as_deref().map(|note| shortened(&plain(note), NOTE)).unwrap_or_default();
    html! { tr {
        th scope="row" { bdi { (shortened(&plain(&probe.name), NOTE)) } }
        td.n data-name="when" { (moment(sample.at)) }
        td.n data-name="value" { (value) }
        td data-name="state" { (state) }
        td data-name="why" { bdi { (note) } }
    } }
}

fn these(faults: &[words::Fault]) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr {
                th scope="col" { "fault" } th scope="col" { "kind" } th scope="col" { "effect" }
                th.n scope="col" { "matched" } th.n scope="col" { "hit" }
            } }
            tbody { @for fault in faults { tr {
                th scope="row" { bdi { (plain(&fault.name)) } }
                td data-name="kind" { (plain(&fault.kind)) }
                td data-name="effect" { bdi { (plain(&fault.effect)) } }
                td.n data-name="matched" { (fault.matched.map_or_else(|| "-".to_owned(), count)) }
                td.n data-name="hit" {
                    (count(fault.injected)) @if fault.shadow > 0 { " (" (count(fault.shadow)) " in shadow)" }
                }
            } } }
        } }
    }
}

fn stops(record: &Record) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr { th scope="col" { "condition" } th scope="col" { "when" } th.n scope="col" { "stopped it" } } }
            tbody { @for stop in &record.stops { tr {
                th scope="row" { bdi { (plain(&stop.name)) } }
                td data-name="when" { bdi { (plain(&stop.what)) } }
                td.n data-name="stopped it" { (stop.stopped_at.map_or_else(|| "no".to_owned(), moment)) }
            } } }
        } }
    }
}
