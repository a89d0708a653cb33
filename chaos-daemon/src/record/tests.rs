//! What crosses the forms of a record: `JUnit`, the summary, and the schema.

use super::{Finding, Record, examples, junit, summary};

#[test]
fn the_schema_is_the_documented_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/record.schema.json");
    let now = serde_json::to_string_pretty(&schemars::schema_for!(Record)).unwrap() + "\n";
    if std::env::var_os("KCHAOS_RENEW").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), now, "KCHAOS_RENEW=1 accepts the change");
}

/// Later fields are passed over, and every record comes back as it was written.
#[test]
fn a_record_survives_its_file() {
    for record in [examples::falsified(), examples::inconclusive(), examples::not_asked(), examples::long()] {
        let mut json = serde_json::to_value(&record).unwrap();
        json["later"] = serde_json::json!({ "field": 1 });
        assert_eq!(record, serde_json::from_value(json).unwrap());
    }
}

#[test]
fn junit_has_a_case_for_each_probe_and_the_verdict() {
    let xml = junit::render(&[examples::falsified(), examples::held()]).unwrap();
    for part in [
        "<testsuite name=\"slow-postgres\" tests=\"3\" skipped=\"0\" errors=\"0\" failures=\"2\"",
        "<testsuite name=\"slow-postgres\" tests=\"3\" skipped=\"0\" errors=\"0\" failures=\"0\"",
        "<testcase name=\"error rate\" classname=\"slow-postgres\"",
        "<failure message=\"expected &lt; 0.5%; while the faults were on: &lt; 1%",
        "<failure message=\"FAILED HYPOTHESIS: error rate was 18 %",
        "<property name=\"verdict\" value=\"falsified\"/>",
        "<testcase name=\"verdict\" classname=\"slow-postgres\" time=\"60.000\"",
    ] {
        assert!(xml.contains(part), "{part} is not in\n{xml}");
    }
}

/// A gate that asks for no failures and no errors opens for a hypothesis that held, and for none that nobody can judge.
#[test]
fn junit_does_not_call_good_what_nobody_knows() {
    for (record, failures, errors, skipped) in [
        (examples::held(), 0, 0, 0),
        (examples::falsified(), 2, 0, 0),
        (examples::stopped(), 1, 2, 0),
        (examples::inconclusive(), 0, 3, 0),
        (examples::not_asked(), 0, 0, 1),
    ] {
        let xml = junit::render(std::slice::from_ref(&record)).unwrap();
        let counts = ["<failure ", "<error ", "<skipped "].map(|part| xml.matches(part).count());
        assert_eq!([failures, errors, skipped], counts, "{xml}");
    }
}

#[test]
fn junit_is_xml_whatever_stands_in_a_record() {
    let xml = junit::render(&[examples::odd()]).unwrap();
    assert!(!xml.contains("<script") && xml.contains("&lt;script&gt;"), "{xml}");
    assert!(xml.chars().all(|c| !c.is_control() || c == '\n'), "{xml}");
    assert!(!xml.contains("]]>"), "{xml}");
    // Nothing disappears: what XML cannot say is written out.
    assert!(xml.contains("\\u{0}") && xml.contains("\\u{202e}"), "{xml}");
}

#[test]
fn a_summary_says_what_a_reader_of_a_job_wants_to_know() {
    let page = summary::render(&examples::falsified(), Some("/var/lib/kchaos/records/x".as_ref()));
    for part in [
        "## ❌ slow-postgres: FAILED HYPOTHESIS\n",
        "> While Postgres answers late",
        "| error rate | broken | &lt; 0.5%; while the faults were on: &lt; 1%; otherwise for up to 5 s | 0.05 % | 18 % | +10 s | +63 s |\n",
        "| page | held |",
        "- late (delay): 1\u{a0}200 hit of 5\u{a0}000 matched\n",
        "`/var/lib/kchaos/records/x`",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    for (finding, mark) in [(Finding::Held, "✅"), (Finding::Inconclusive, "⚠️"), (Finding::NotAsked, "➖")]
    {
        assert!(summary::render(&examples::with(finding, ""), None).contains(mark));
    }
}

/// A row stays a row: eight bars that are not escaped.
#[test]
fn a_summary_keeps_its_table() {
    let page = summary::render(&examples::odd(), None);
    assert!(!page.contains("<script"), "{page}");
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        assert_eq!(8, row.replace("\\|", "").matches('|').count(), "{row}");
    }
    assert_eq!(4, page.lines().filter(|line| line.starts_with('|')).count(), "{page}");
}
