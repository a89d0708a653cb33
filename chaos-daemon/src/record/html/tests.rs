use super::{policy, render};
use crate::record::{Finding, Record, examples};

fn count(page: &str, part: &str) -> usize {
    page.matches(part).count()
}

#[test]
fn a_page_needs_nothing_and_says_so() {
    let page = render(&examples::falsified());
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(policy().starts_with("default-src 'none'; style-src 'sha256-"));
    // Inside an attribute its quotes are references.
    assert!(page.contains("Content-Security-Policy"), "{page}");
    for loads in
        ["<script", "<img", "<link", "<iframe", "<object", "@import", "url(", "src=", "href=", "style="]
    {
        assert!(!page.contains(loads), "{loads}");
    }
}

#[test]
fn every_probe_and_every_fault_has_a_plot_with_words() {
    let record = examples::falsified();
    let page = render(&record);
    let plots = record.probes.len() + record.injections.len();
    for part in ["<title id=", "<desc id=", "role=\"img\"", ">faults on</text>"] {
        assert_eq!(plots, count(&page, part), "{part}");
    }
    for part in ["FAILED HYPOTHESIS", "back at +63 s", "stop: users are hurt", "expected &lt; 1%", "alice"] {
        assert!(page.contains(part), "{part}");
    }
    // A line that is interrupted where nothing was known, and dots.
    let line = page.split("<path class=\"line\" d=\"").nth(2).unwrap().split('"').next().unwrap();
    assert!(count(line, "L") > 50, "{line}");
    assert!(page.contains("class=\"broken\" d=\"M"));
}

#[test]
fn what_never_happened_is_not_drawn() {
    let page = render(&examples::inconclusive());
    assert!(!page.contains("faults on</text>") && page.contains("INCONCLUSIVE"), "{page}");
    let page = render(&examples::not_asked());
    assert!(page.contains("NOTHING WAS ASKED") && !page.contains("Steady state</h2>"));
    let empty = render(&Record::default());
    assert!(empty.contains("<main>") && !empty.contains("<section"));
    for finding in [Finding::Held, Finding::Stopped] {
        let record = examples::with(finding, "");
        assert!(render(&record).contains(super::words::result(finding)));
    }
}

#[test]
fn text_of_others_stays_text() {
    let page = render(&examples::odd());
    assert!(!page.contains("<script"), "{page}");
    assert_eq!(1, count(&page, "<title>"));
    assert_eq!(1, count(&page, "<h1>"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(page.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    assert!(!page.contains('\u{202e}') && page.contains("שלום"));
    // No number that SVG does not know.
    assert!(!page.contains("NaN") && !page.contains("\"inf") && !page.contains("inf%"), "{page}");
}

#[test]
fn an_hour_of_twenty_probes_is_less_than_a_megabyte() {
    let record = examples::long();
    let page = render(&record);
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert_eq!(20 + record.injections.len(), count(&page, "role=\"img\""));
}
