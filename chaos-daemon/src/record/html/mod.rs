//! record.html: one page that needs nothing else: no script, no font, no picture, and no network, which it forbids the
//! browser by a policy of its own.
//!
//! Plots are drawn here by hand ([`plot`]): crates that plot write colours and sizes of letters into each shape, and
//! then a page can be neither dark nor narrow. Text of others goes through [`maud`], which makes it harmless wherever it
//! stands. Nothing here may be marked as safe but our own style.

mod axis;
mod plot;
mod series;
mod tables;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::{
    Record,
    plain::{count, moment, plain, plain_lines, seconds, time_of_day},
    words,
};
use plot::Plots;

const STYLE: &str = include_str!("style.css");

/// More of an experiment's file is not shown here, in characters; record.json has all of it.
const MOST_OF_FILE: usize = 64 << 10;

/// The page.
pub fn render(record: &Record) -> String {
    let title = format!("{}: {}", plain(&record.experiment), words::result(record.verdict.verdict));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main {
                (beginning(record))
                (tiles(record))
                (plots(record))
                (tables::all(record))
                (origin(record))
                footer { "Record " (plain(&record.id)) ", written by kchaos " (plain(&record.by.kchaos)) " on "
                    (time_of_day(&record.times.finished)) "." }
            } }
        }
    };
    page.into_string()
}

/// Nothing may be loaded, started or sent, and there is one style: this one.
fn policy() -> String {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'")
}

fn beginning(record: &Record) -> Markup {
    let finding = record.verdict.verdict;
    html! {
        header {
            p.kicker { "Chaos experiment record, " (time_of_day(words::began(record))) }
            div.top {
                h1 { (plain(&record.experiment)) }
                span class=(format!("verdict {}", words::word(finding))) { (words::result(finding)) }
            }
            @if !record.verdict.reason.is_empty() { p.reason { (plain(&record.verdict.reason)) } }
            @if let Some(hypothesis) = &record.hypothesis { blockquote { (plain(hypothesis)) } }
        }
    }
}

/// What one wants to know first.
fn tiles(record: &Record) -> Markup {
    let times = &record.times;
    let tile = |name: &str, value: String, more: String| {
        html! { div.tile { dt { (name) } dd { bdi { (value) } @if !more.is_empty() { small { (more) } } } } }
    };
    let on = match times.started {
        Some(_) => seconds(times.on_seconds),
        None => "never".to_owned(),
    };
    let first = words::first_broken(record);
    let broke = first.and_then(|probe| probe.broke_at).map_or_else(|| "nothing".to_owned(), moment);
    let faults = words::faults(record);
    let hit: u64 = faults.iter().map(|fault| fault.injected).sum();
    let matched: Option<u64> = faults.iter().map(|fault| fault.matched).sum();
    let matched = matched.map_or_else(String::new, |matched| format!("of {} matched", count(matched)));
    let back = match (times.recovery_seconds, first) {
        (Some(after), _) => (seconds(after), "after the faults went off".to_owned()),
        (None, None) => ("-".to_owned(), String::new()),
        (None, Some(_)) => ("not seen".to_owned(), String::new()),
    };
    let name = first.map(|probe| plain(&probe.name)).unwrap_or_default();
    html! {
        dl.tiles {
            (tile("Target", words::said(record, "target").map_or_else(|| "-".to_owned(), plain),
                  words::said(record, "mode").filter(|mode| *mode == "shadow").map(|_| "shadow mode: nothing was hit".to_owned()).unwrap_or_default()))
            (tile("Faults were on", on, format!("time box {}", seconds(times.time_box_seconds))))
            (tile("Injections", count(hit), matched))
            (tile("First to break", broke, name))
            (tile("Steady state was back", back.0, back.1))
        }
    }
}

fn plots(record: &Record) -> Markup {
    let plots = Plots::of(record);
    html! {
        @if !record.probes.is_empty() {
            h2 { "Steady state" }
            (legend())
            @for (index, probe) in record.probes.iter().enumerate() {
                section.card {
                    div.head {
                        h3 { (plain(&probe.name)) }
                        span class=(format!("chip {}", words::held(probe))) { (words::held(probe)) }
                    }
                    p.sub { "expected " (words::expected(probe)) " · " (words::summary(probe)) }
                    (plots.probe(index, probe))
                }
            }
        }
        @if !record.injections.is_empty() {
            h2 { "Injections per second" }
            @for (index, fault) in record.injections.iter().enumerate() {
                @let all = fault.counts.last().map_or(0, |(_, count)| *count);
                section.card {
                    div.head { h3 { (plain(&fault.fault)) } }
                    p.sub { (plain(&fault.kind)) " · " (count(all)) " in all" }
                    (plots.injections(index, fault))
                }
            }
        }
        @if !record.probes.is_empty() || !record.injections.is_empty() {
            p.sub { "Times are seconds since the faults went on; all plots have the same axis." }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend aria-label="Legend" {
            li { svg aria-hidden="true" viewBox="0 0 26 12" { path.line d="M1 9L9 4L17 7L25 2" {} } "measured" }
            li { svg aria-hidden="true" viewBox="0 0 26 12" { path.broken d="M13 6h.1" {} } "not as expected" }
            li { svg aria-hidden="true" viewBox="0 0 26 12" { line.bound x1="0" x2="26" y1="6" y2="6" {} } "expected" }
            li { svg aria-hidden="true" viewBox="0 0 26 12" { line.stop x1="0" x2="26" y1="6" y2="6" {} } "stop condition" }
            li { svg aria-hidden="true" viewBox="0 0 26 12" { rect.band width="26" height="12" rx="2" {} } "faults on" }
            li { svg aria-hidden="true" viewBox="0 0 26 12" { line.mark x1="13" x2="13" y1="0" y2="12" {} } "back" }
            li { svg aria-hidden="true" viewBox="0 0 26 12" {
                path.well d="M0 6h12v6H0z" {} path.bad d="M14 0h12v12H14z" {}
            } "well, broken" }
        }
    }
}

/// Who, where, and from which file.
fn origin(record: &Record) -> Markup {
    let (by, file) = (&record.by, &record.file);
    let text = plain_lines(&file.text);
    let shown: String = text.chars().take(MOST_OF_FILE).collect();
    html! {
        h2 { "Where this comes from" }
        dl.facts {
            dt { "Run by" } dd { (plain(&by.user)) " on " (plain(&by.host)) ", Linux " (plain(&by.kernel)) }
            @if !record.tags.is_empty() { dt { "Tags" } dd { (plain(&record.tags.join(", "))) } }
            @if let Some(path) = &file.path { dt { "File" } dd.mono { (plain(path)) } }
            dt { "SHA-256" } dd.mono { (plain(&file.sha256)) }
            @if let Some(git) = &file.git {
                dt { "Commit" } dd { code { (plain(&git.commit)) } @if git.modified { ", modified since" } }
            }
            @if let Some(seed) = words::seed(record) { dt { "Seed" } dd.mono { (seed) } }
            dt { "Again" } dd { code { (words::again(record)) } }
        }
        @if !file.text.is_empty() {
            pre tabindex="0" { code { (shown) } }
            @if shown.len() < text.len() { p.sub { "The rest of it stands in record.json." } }
        }
    }
}

#[cfg(test)]
mod tests;
